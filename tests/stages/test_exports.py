"""Exported scores: opened by others' libraries, evaluated by another's rules, and the metrics are ours."""

import csv
from pathlib import Path

import mvtec_evaluation
import numpy as np
import pytest
import raw_files
import tifffile
from metric_oracles import naive_auroc
from PIL import Image
from scipy.ndimage import gaussian_filter

from pointad_core.cli.main import main
from pointad_core.datasets.generator.scans import generate_category
from pointad_core.datasets.registry import LAYOUTS, reader
from pointad_core.datasets.scans import Organised
from pointad_core.errors import InputError
from pointad_core.stages.clouds import make_clouds
from pointad_core.stages.exports import export_scores
from pointad_core.stages.metrics import make_metrics
from pointad_core.storage import stores


class Scored:
    """Raw scans of one category of a layout, their clouds, and scores that know a little of the defects."""

    def __init__(self, folder: Path, layout: str, category: str, resolution: int, background: str = "none") -> None:
        self.layout, self.category, self.root = layout, category, folder / "raw"
        self.clouds, self.scores, self.out = folder / "clouds.zarr.zip", folder / "scores.zarr.zip", folder / "out"
        options = {"resolution": resolution, "normals": {"radius": 0.01, "neighbours": 5}, "seed": 0}
        organised = LAYOUTS[layout].scene is not None
        options |= {"background": background} if organised else {"n_points": 900, "sampling": "farthest"}
        layouts = {"name": layout, **vars(LAYOUTS[layout])}
        make_clouds(self.root, self.clouds, "toys", layouts, category, options, {})
        rng = np.random.default_rng(1)
        with stores.read(self.clouds, "clouds") as clouds, stores.write(self.scores, "scores", {}, {}) as writer:
            for scan in clouds.scans:
                if organised:
                    mask = clouds.load(scan, ["mask"])["mask"]
                    smooth = gaussian_filter(mask * 1.0, resolution / 84)
                    found = smooth + gaussian_filter(rng.random(mask.shape), resolution / 84) * 9
                    # In steps, so that many scores are equal.
                    arrays = {"map_3d": (np.round(found * 200) / 200).astype(np.float32)}
                    arrays["map_m3d"] = arrays["map_3d"] + 1
                else:
                    cloud = clouds.load(scan, ["labels", "nearest"])
                    points = (cloud["labels"] + rng.normal(size=len(cloud["labels"]))).astype(np.float32)
                    arrays = {"points_3d": points, "original_3d": points[cloud["nearest"]]}
                defective = clouds.scan_attributes(scan)["defective"]
                about = {"category": category, "scan": scan, "defective": defective, "object_3d": rng.random()}
                if organised:
                    about["object_m3d"] = rng.random()
                writer.add(f"{category}/{scan}", arrays, about)

    def metrics(self) -> dict[str, float]:
        output = self.clouds.with_name("metrics.csv")
        make_metrics(self.scores, {self.category: self.clouds}, output, output.with_suffix(".npz"))
        with open(output) as file:
            row = next(csv.DictReader(file))
        return {name: float(value) for name, value in row.items() if "_" in name and value}

    def export(self, form: str, *words: str) -> int:
        command = ["export", str(self.scores), "--data", str(self.root), "--out", str(self.out), "--format", form]
        return main([*command, *words])


def balls(root: Path, category: str, side: int) -> None:
    """Six organised scans of square images, half of them defective."""
    for number in range(6):
        points, rgb, gt, _ = raw_files.plane_and_ball(side, seed=number)
        rng = np.random.default_rng(number)
        if number % 2:
            gt[:] = 0
        else:
            for _ in range(2):
                row, column = rng.integers(0, side - side // 6, 2)
                gt[row : row + side // 12, column : column + side // 6] = 90
        raw_files.mvtec_scan(root, f"{category}/test/{'good' if number % 2 else 'dent'}/{number:03d}", points, rgb, gt)


@pytest.fixture(scope="module")
def same_size(tmp_path_factory) -> Scored:
    """Scans whose images have the size of the maps, so that nothing is resampled; exported."""
    folder = tmp_path_factory.mktemp("same")
    balls(folder / "raw", "ball", 200)
    scored = Scored(folder, "mvtec3d", "ball", 200)
    assert scored.export("mvtec") == 0
    return scored


def test_an_evaluation_over_the_files_gets_our_metrics_exactly_where_nothing_is_resampled(same_size):
    found = same_size.metrics()
    auroc, pro = mvtec_evaluation.evaluate(same_size.out, same_size.root, "ball")
    assert 0.6 < auroc < 0.985
    assert auroc == pytest.approx(found["p_auroc_paper"], abs=1e-12)
    assert pro == pytest.approx(found["aupro_paper"], abs=1e-12)
    _, at_quantiles = mvtec_evaluation.evaluate(same_size.out, same_size.root, "ball", thresholds=200)
    assert at_quantiles == pytest.approx(pro, abs=5e-3)
    assert at_quantiles != pro


def test_the_files_are_opened_by_two_libraries_and_hold_the_scores_to_the_bit(same_size):
    files = sorted(path.relative_to(same_size.out).as_posix() for path in same_size.out.rglob("*.tiff"))
    assert files == [
        f"ball/test/{kind}/{number:03d}.tiff"
        for kind, number in zip(["dent"] * 3 + ["good"] * 3, [0, 2, 4, 1, 3, 5], strict=True)
    ]
    with stores.read(same_size.scores, "scores") as store:
        expected = store.load("ball/dent/002", ["map_3d"])["map_3d"]
    path = same_size.out / "ball/test/dent/002.tiff"
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.array(image), expected)
    found = tifffile.imread(path)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32
    with tifffile.TiffFile(path) as file:
        names = {tag.name for tag in file.pages.first.tags}
    assert not names & {"DateTime", "Software", "ImageDescription"}


def test_an_evaluation_at_the_image_size_differs_by_what_resampling_explains(tmp_path):
    balls(tmp_path / "raw", "ball", 350)
    scored = Scored(tmp_path, "mvtec3d", "ball", 336)
    assert scored.export("mvtec") == 0
    # Padded to 400 and brought to 336: the padding counts as good in our image, and is in no file.
    found = scored.metrics()
    auroc, pro = mvtec_evaluation.evaluate(scored.out, scored.root, "ball")
    own, own_pro = evaluate_inside(scored, 350)
    assert auroc == pytest.approx(own, abs=5e-3)
    assert pro == pytest.approx(own_pro, abs=1e-2)
    assert auroc == pytest.approx(found["p_auroc_paper"], abs=0.05)


def evaluate_inside(scored: Scored, side: int) -> tuple[float, float]:
    """Our metrics of the part of the maps that the image fills."""
    from pointad_core.evaluation.metrics import PointScores, region_weights

    points = PointScores()
    square = -(-side // 100) * 100
    with stores.read(scored.clouds, "clouds") as clouds, stores.read(scored.scores, "scores") as store:
        for scan in clouds.scans:
            mask, scores = clouds.load(scan, ["mask"])["mask"], store.load(f"ball/{scan}", ["map_3d"])["map_3d"]
            at = np.arange(len(mask)) * square // len(mask) - (square - side) // 2
            inside = np.ix_((at >= 0) & (at < side), (at >= 0) & (at < side))
            points.add(scores[inside], mask[inside], region_weights(mask[inside]))
    return points.auroc(), points.aupro()


@pytest.mark.parametrize(("layout", "shape"), [("mvtec3d", (130, 90)), ("eyecandies", (512, 512))])
def test_each_pixel_has_the_score_of_the_nearest_pixel_of_the_map(tmp_path, layout, shape):
    """Naively: a map that numbers its pixels says which one each pixel of the image got."""
    if layout == "mvtec3d":
        category = "ball"
        points, rgb, gt, _ = raw_files.plane_and_ball(130)
        cut = (slice(None), slice(20, 110))
        raw_files.mvtec_scan(tmp_path / "raw", f"{category}/test/dent/000", points[cut], rgb[cut], gt[cut])
        offset, square = (35, 55), 200
    else:
        category = "Gum"
        raw_files.eyecandies_sample(tmp_path / "raw", "000", True, True)
        offset, square = (0, 0), 512
    size = 48
    numbers = np.arange(size * size, dtype=np.float32).reshape(size, size)
    scans = reader(layout).find_scans(tmp_path / "raw", category)
    with stores.write(tmp_path / "scores.zarr.zip", "scores", {}) as writer:
        writer.add(f"{category}/{scans[0].name}", {"map_3d": numbers})
    count = export_scores(tmp_path / "scores.zarr.zip", tmp_path / "raw", layout, "mvtec", tmp_path / "out")
    assert count == 1
    found = tifffile.imread(next((tmp_path / "out").rglob("*.tiff")))
    assert found.shape == shape
    at = [i * square // size for i in range(size)]
    for row in range(0, shape[0], 7):
        for column in range(0, shape[1], 5):
            y, x = (min(range(size), key=lambda i, p=p: abs(at[i] - p)) for p in (row + offset[0], column + offset[1]))
            assert found[row, column] == numbers[y, x]


@pytest.fixture(scope="module")
def clouds_scored(tmp_path_factory) -> Scored:
    folder = tmp_path_factory.mktemp("points")
    generate_category(folder / "raw", "real3d", "diamond", range(4), seed=2)
    return Scored(folder, "real3d", "diamond", 336)


def test_rows_are_the_points_of_the_file_in_its_order_and_give_our_metrics(clouds_scored):
    assert clouds_scored.export("real3d") == 0
    module = reader("real3d")
    negatives, positives = [], []
    for scan in module.find_scans(clouds_scored.root, "diamond"):
        path = clouds_scored.out / "diamond" / f"{scan.path.stem}.txt"
        rows = np.loadtxt(path)
        raw = module.read(scan)
        assert not isinstance(raw, Organised)
        np.testing.assert_array_equal(rows[:, :3].astype(np.float32), raw.points)
        with stores.read(clouds_scored.scores, "scores") as store:
            expected = store.load(f"diamond/{scan.name}", ["original_3d"])["original_3d"]
        np.testing.assert_array_equal(rows[:, 3].astype(np.float32), expected)
        # Truth as the data set's own label file has it, by its own order where that is the points' order.
        negatives.append(rows[~raw.labels, 3])
        positives.append(rows[raw.labels, 3])
    rng = np.random.default_rng(0)
    some = [rng.choice(np.concatenate(part), 1500) for part in (negatives, positives)]
    found = clouds_scored.metrics()["p_auroc_object"]
    assert naive_auroc(*some) == pytest.approx(found, abs=0.04)


def test_points_of_double_precision_come_back_to_the_bit(tmp_path):
    points = np.random.default_rng(0).random((300, 3)) + np.array([5e5, 4e6, 0])
    raw_files.write(tmp_path / "raw/part/test/1_bent.pcd", double_pcd(points))
    raw_files.write(tmp_path / "raw/part/gt/1_bent.txt", raw_files.rows(points, np.arange(300) < 20))
    scan = reader("real3d").find_scans(tmp_path / "raw", "part")[0]
    with stores.write(tmp_path / "scores.zarr.zip", "scores", {}) as writer:
        writer.add(f"part/{scan.name}", {"original_3d": np.linspace(0, 1, 300, dtype=np.float32)})
    export_scores(tmp_path / "scores.zarr.zip", tmp_path / "raw", "real3d", "real3d", tmp_path / "out")
    rows = np.loadtxt(tmp_path / "out/part/1_bent.txt")
    np.testing.assert_array_equal(rows[:, :3], reader("real3d").read(scan).points)
    np.testing.assert_array_equal(rows[:, :3], points)


def double_pcd(points: np.ndarray) -> bytes:
    n = len(points)
    header = (
        f"VERSION 0.7\nFIELDS x y z\nSIZE 8 8 8\nTYPE F F F\nCOUNT 1 1 1\nWIDTH {n}\nHEIGHT 1\nPOINTS {n}\nDATA ascii\n"
    )
    return header.encode() + "".join(f"{x!r} {y!r} {z!r}\n" for x, y, z in points.tolist()).encode()


def test_with_rgb_another_modality_is_written(same_size, tmp_path, capsys):
    out = tmp_path / "maps"
    words = ["--data", str(same_size.root), "--format", "mvtec", "--out", str(out), "--modality", "m3d"]
    assert main(["export", str(same_size.scores), *words]) == 0
    assert capsys.readouterr().out == f"{out}: 6 scans\n"
    first = tifffile.imread(same_size.out / "ball/test/dent/000.tiff")
    np.testing.assert_array_equal(tifffile.imread(out / "ball/test/dent/000.tiff"), first + 1)


def test_what_does_not_fit_is_refused_and_leaves_nothing(same_size, clouds_scored, tmp_path, capsys):
    def refused(scored: Scored, told: str, root=None, layout=None, form="mvtec", modality="3d", scores=None) -> None:
        with pytest.raises(InputError, match=told):
            export_scores(
                scores or scored.scores, root or scored.root, layout or scored.layout, form, tmp_path / "o", modality
            )
        assert list(tmp_path.iterdir()) == []

    refused(same_size, "is organised, which format 'real3d' is not for; take 'mvtec'", form="real3d")
    refused(clouds_scored, "is a cloud of points, which format 'mvtec' is not for; take 'real3d'")
    refused(same_size, "format 'tiff' is unknown; known are mvtec, real3d", form="tiff")
    refused(same_size, "no such category", root=clouds_scored.root)
    refused(clouds_scored, r"scan .* has no original_m3d, it has original_3d", form="real3d", modality="m3d")
    refused(same_size, "no such store", scores=tmp_path / "none.zarr.zip")
    # A scan fewer, or another cloud under its name.
    assert same_size.export("mvtec") == 1
    assert "is there already; give a folder that is not, or delete it" in capsys.readouterr().err


def test_scans_of_one_name_in_several_folders_stay_apart(tmp_path):
    generate_category(tmp_path / "raw", "mulsen_ad", "nut", range(4), seed=2)
    scored = Scored(tmp_path, "mulsen_ad", "nut", 336)
    assert export_scores(scored.scores, scored.root, "mulsen_ad", "real3d", scored.out) == 4
    written = {path.relative_to(scored.out).as_posix() for path in scored.out.rglob("*.txt")}
    assert written == {f"nut/{name}.txt" for name in ("good/0", "good/1", "hole/0", "crack/0")}


def test_scores_of_another_folder_are_refused(clouds_scored, tmp_path):
    generate_category(tmp_path / "raw", "real3d", "diamond", range(4), seed=5)
    (tmp_path / "raw/diamond/test").mkdir(exist_ok=True)
    with pytest.raises(InputError, match="is this the folder they were made from"):
        export_scores(clouds_scored.scores, tmp_path / "raw", "real3d", "real3d", tmp_path / "o")
    generate_category(tmp_path / "raw", "real3d", "diamond", range(2), seed=2)
    with pytest.raises(InputError, match="has no scan 'diamond/"):
        export_scores(clouds_scored.scores, tmp_path / "raw", "real3d", "real3d", tmp_path / "o")
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_row_for_each_scan_with_its_object_scores_and_their_parts(tmp_path, capsys):
    scored, output = tmp_path / "scores.zarr.zip", tmp_path / "new" / "objects.csv"
    about = {"category": "ball", "display": "ball"}
    rows = {
        "dent/000": {"defective": True, "object_3d": 0.75, "object_m3d": 0.625, "global_3d": 0.5, "implicit_3d": 1 / 3},
        "good, old/001": {"defective": False, "object_3d": 0.25, "global_3d": 0.125},
        "odd/002": {"defective": None, "object_3d": 1.0, "global_3d": 0.0},
    }
    with stores.write(scored, "scores", {}, {}) as writer:
        for scan, row in rows.items():
            writer.add(f"ball/{scan}", {"map_3d": np.zeros((2, 2), np.float32)}, {**about, "scan": scan, **row})
    assert main(["export", str(scored), "--format", "objects", "--out", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}: 3 scans\n"
    with open(output, newline="") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == ["category", "scan", "defective", "object_3d", "object_m3d", "global_3d", "implicit_3d"]
    for row, (scan, wanted) in zip(found, rows.items(), strict=True):
        assert (row["category"], row["scan"]) == ("ball", scan)
        assert row["defective"] == {True: "1", False: "0", None: ""}[wanted["defective"]]
        for name in list(row)[3:]:
            assert row[name] == (repr(wanted[name]) if name in wanted else "")


def test_an_evaluations_files_need_the_data(same_size, capsys):
    assert main(["export", str(same_size.scores), "--format", "mvtec", "--out", "nowhere"]) == 1
    assert "'mvtec' needs --data" in capsys.readouterr().err
