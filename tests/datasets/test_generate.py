"""The generator's files: those promised, the same for the same seed, and readable as what they say they are."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import open3d as o3d
import pytest
import yaml
from PIL import Image
from scipy.spatial import cKDTree

from pointad_core.datasets.generator.catalogue import (
    CATEGORIES,
    EYECANDIES_ITEMS,
    KINDS,
    WORDS,
    generated_defects,
    generated_extra,
    generated_files,
    generated_name,
    generated_scans,
)
from pointad_core.datasets.generator.defects import DEFECTS, add_defect
from pointad_core.datasets.generator.files import write
from pointad_core.datasets.generator.scans import generate_category
from pointad_core.datasets.generator.shapes import CELL, make_shape
from pointad_core.datasets.registry import LAYOUTS, list_scans, reader
from pointad_core.errors import InputError
from pointad_core.stages.clouds import make_clouds
from pointad_core.storage import stores
from pointad_core.storage.shards import split

SCANS = 4
OPTIONS = {"resolution": 336, "seed": 0, "n_points": 112_896, "sampling": "farthest"}
FIRST = [(layout, CATEGORIES[layout][0]) for layout in CATEGORIES]
ALL = [(layout, category) for layout in CATEGORIES for category in CATEGORIES[layout]]


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data set of each layout, a folder each."""
    root = tmp_path_factory.mktemp("generated")
    for layout, category in FIRST:
        generate_category(root / layout, layout, category, range(SCANS), 1)
    return root


@pytest.mark.parametrize(("layout", "category"), FIRST)
def test_exactly_the_promised_files_are_written(root, layout, category):
    files = generated_files(layout, category, SCANS)
    assert sorted(files_in(root / layout)) == files
    # The readers need some of them, and find them.
    paths = {str(root / layout / file) for file in files}
    listed = list_scans(layout, root / layout, category)
    assert all(set(needed) <= paths for needed in listed.values())
    # Under the names that shards are made of.
    generated = generated_scans(layout, category, SCANS)
    assert listed.keys() == generated.keys()
    for name, needed in listed.items():
        assert set(needed) <= {str(root / layout / file) for file in generated[name].values()}
        own = set(generated[name].values()) - set(generated_extra(layout, category, SCANS).values())
        assert all(generated_name(layout, file.partition("/")[2]) == name for file in own)
    extra = generated_extra(layout, category, SCANS).values()
    assert not [path for path in extra if generated_name(layout, path.partition("/")[2])]


@pytest.mark.parametrize(("layout", "category"), FIRST)
def test_same_seed_same_bytes_and_more_scans_append(root, tmp_path, layout, category):
    generate_category(tmp_path / "fewer", layout, category, range(2), 1)
    fewer, whole = files_in(tmp_path / "fewer"), files_in(root / layout)
    assert fewer.keys() < whole.keys()
    # A table has more rows.
    assert all(whole[name][: len(content)] == content for name, content in fewer.items())
    assert all(len(whole[name]) == len(content) for name, content in fewer.items() if not name.endswith(".csv"))
    generate_category(tmp_path / "other", layout, category, range(2), 2)
    other = files_in(tmp_path / "other")
    same = [name for name in fewer if other[name] == fewer[name]]
    # What depends on no chance: empty masks, metadata, pose, calibration.
    assert not [name for name in same if name.endswith((".tiff", ".pcd", ".stl", "depth.png", "image_0.png"))]


@pytest.mark.parametrize(("layout", "category"), FIRST)
def test_shards_write_what_the_whole_is_and_leave_nothing_else(root, tmp_path, layout, category):
    whole = files_in(root / layout)
    names = list(generated_scans(layout, category, SCANS))

    def generate(size, scans):
        for shard, members in split(names[:scans], size).items():
            numbers = sorted(names.index(name) for name in members)
            generate_category(tmp_path, layout, category, numbers, 1, shard, count=scans)
            written = generated_files(layout, category, scans, shard)
            assert all(files_in(tmp_path)[file] == whole[file] for file in written if not file.endswith(".csv"))
            # Whatever an earlier run has left.
            assert [scan.name for scan in reader(layout).find(tmp_path, category, shard)] == members

    generate(1, SCANS)
    assert files_in(tmp_path) == whole
    another = tmp_path / next(iter(whole))
    another = another.with_name(another.name + ".partial")
    another.write_bytes(b"")
    generate(2, 3)
    generate(1, 2)
    assert another.exists(), "what another job is writing was deleted"
    another.unlink()
    generate(None, 2)
    assert sorted(files_in(tmp_path)) == generated_files(layout, category, 2)


@pytest.mark.parametrize("layout", CATEGORIES)
def test_every_second_scan_has_a_defect_and_every_kind_occurs(layout):
    kinds = set()
    for category in CATEGORIES[layout]:
        defects = generated_defects(layout, category, 10)
        assert all((defect == "good") == (index % 2 == 0) for index, defect in enumerate(defects))
        assert generated_defects(layout, category, 30)[:10] == defects
        kinds |= set(defects)
    # Clouds without colour have no defect of colour alone; in MulSen-AD the photographs would show it.
    assert kinds == {"good", *KINDS} - ({"stain"} if layout in ("real3d", "anomaly_shapenet") else set())
    assert kinds == set(WORDS.get(layout, kinds))


@pytest.mark.parametrize("layout", CATEGORIES)
def test_names_are_unique(layout):
    for category in CATEGORIES[layout]:
        files = generated_files(layout, category, 120)
        assert (
            len(set(files))
            == len(files)
            == len(generated_files(layout, category, 119))
            + {
                "mvtec3d": 3,
                "eyecandies": 17,
            }.get(layout, 2)
        )


def test_unknown_categories_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"'duck' cannot be generated in layout real3d, only diamond, shell"):
        generate_category(tmp_path, "real3d", "duck", range(2), 1)
    with pytest.raises(InputError, match="layout 'kitti' is unknown"):
        generated_files("kitti", "duck", 2)
    assert not list(tmp_path.iterdir())


def test_nothing_half_written_is_left(tmp_path, monkeypatch):
    class FullDiskError(OSError):
        pass

    def fail(self, content):
        with open(self, "wb") as file:
            file.write(content[: len(content) // 2])
        raise FullDiskError

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(FullDiskError):
        write(tmp_path / "a/b.png", b"twelve bytes")
    assert files_in(tmp_path) == {}


# The layouts ---------------------------------------------------------------------------------------------------------


def test_mvtec_scans_are_like_published_ones(root):
    category = root / "mvtec3d" / "bagel"
    camera = json.loads((category / "calibration/camera_parameters.json").read_text())
    focal = camera["focus"] / camera["sx"]
    for path in sorted(category.glob("test/*/xyz/*.tiff")):
        scan = next(s for s in reader("mvtec3d").find_scans(root / "mvtec3d", "bagel") if s.path == path)
        raw = reader("mvtec3d").read(scan)
        assert raw.points.shape == (camera["image_height"], camera["image_width"], 3)
        x, y, z = raw.points[raw.valid].T
        assert z.min() > 0.55
        assert z.max() < 0.75
        # A pixel is the projection of its point, to the rounding of a tenth of a millimetre.
        rows, columns = np.nonzero(raw.valid)
        np.testing.assert_allclose(focal * x / z + camera["cx"], columns, atol=0.3)
        np.testing.assert_allclose(focal * y / z + camera["cy"], rows, atol=0.3)
        assert 0.25 < 1 - raw.valid.mean() < 0.5
        with Image.open(scan.files["gt"]) as image:
            assert image.mode == "L"
            values = set(np.unique(np.array(image)).tolist())
        assert values == {0} if scan.defect == "good" else values == {0, 255 - KINDS.index(scan.defect)}


def test_eyecandies_samples_are_like_published_ones(root):
    folder = root / "eyecandies" / "ChocolateCookie" / "test_public" / "data"
    assert len(EYECANDIES_ITEMS) == 17
    for sample in ("00", "01", "03"):
        images = {}
        for item in EYECANDIES_ITEMS:
            path = folder / f"{sample}_{item}"
            if item.endswith(".png"):
                with Image.open(path) as image:
                    assert image.size == (512, 512)
                    images[item] = np.array(image)
            elif item.endswith(".yaml"):
                assert isinstance(yaml.safe_load(path.read_text()), dict)
        assert images["depth.png"].dtype == np.uint16
        assert {images["depth.png"].min(), images["depth.png"].max()} == {0, 65535}
        assert all(images[f"image_{light}.png"].shape == (512, 512, 3) for light in range(6))
        masks = [images[f"{kind}_mask.png"] > 0 for kind in ("bumps", "dents", "colors", "normals")]
        np.testing.assert_array_equal(np.any(masks, axis=0), images["mask.png"] > 0)
        anomalous = yaml.safe_load((folder / f"{sample}_metadata.yaml").read_text())["anomalous"]
        assert anomalous == int(sample != "00") == (images["mask.png"] > 0).any()
        pose = np.loadtxt(folder / f"{sample}_pose.txt")
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)


def test_real3d_scans_are_like_published_ones(root):
    category = root / "real3d" / "diamond"
    (template,) = (category / "train").glob("*template*.pcd")
    assert len(o3d.io.read_point_cloud(template).points) == 8000
    for path in sorted((category / "test").glob("*.pcd")):
        assert b"DATA binary\n" in path.read_bytes()[:300]
        points = np.asarray(o3d.io.read_point_cloud(path).points)
        assert 20_000 < len(points) < 40_000
        assert 22 < np.ptp(points, axis=0).max() < 38
        text = category / "gt" / f"{path.stem}.txt"
        assert text.exists() == ("good" not in path.stem)
        if text.exists():
            rows = np.loadtxt(text)
            np.testing.assert_allclose(rows[:, :3], points, atol=1e-6)
            assert 0.002 < rows[:, 3].mean() < 0.05


def test_anomaly_shapenets_clouds_are_like_published_ones(tmp_path):
    generate_category(tmp_path, "anomaly_shapenet", "helmet0", range(12), 1)
    generate_category(tmp_path, "anomaly_shapenet", "helmet0", range(2), 1, split="train")
    category = tmp_path / "helmet0"
    names = {path.stem for path in category.glob("test/*.pcd")}
    assert {f"helmet0_positive{number}" for number in range(6)} < names
    assert {"helmet0_hole0", "helmet0_crack0", "helmet0_scratch0", "helmet0_bulge0", "helmet0_bulge1"} < names
    assert {path.stem for path in category.glob("train/*")} == {"helmet0_template0", "helmet0_template1"}
    defective = {name for name in names if "positive" not in name}
    assert {path.name for path in category.glob("GT/*")} == {f"{name}.txt" for name in defective}
    surplus = []
    for name in sorted(names):
        points = np.asarray(o3d.io.read_point_cloud(category / f"test/{name}.pcd").points)
        assert 17_000 < len(points) < 158_000
        # In the unit ball, and closed: much of it is seen from below alone.
        assert 0.99 < np.linalg.norm(points, axis=1).max() <= 1.0001
        if name in defective:
            text = (category / f"GT/{name}.txt").read_text()
            assert text.count(",") == 3 * text.count("\n")
            rows = np.genfromtxt(text.splitlines(), delimiter=",")
            surplus.append(len(rows) - len(points))
            assert not np.allclose(rows[: len(points), :3], points, atol=1e-3), "rows are in the points' order"
            # Every point has its row.
            assert cKDTree(rows[:, :3]).query(points)[0].max() < 1e-6
            assert 0.002 < rows[:, 3].mean() < 0.05
    assert set(surplus) == {0, 1}


def test_mulsens_meshes_are_like_published_ones(tmp_path):
    generate_category(tmp_path, "mulsen_ad", "nut", range(14), 1)
    category = tmp_path / "nut"
    folders = {path.name for path in (category / "Pointcloud/test").iterdir()}
    assert folders == {"good", "hole", "crack", "scratch", "foreign_body", "color", "squeeze", "substandard"}
    for folder in folders:
        scans = sorted((category / "Pointcloud/test" / folder).iterdir())
        table = np.genfromtxt(category / f"RGB/GT/{folder}/data.csv", delimiter=",", names=True, dtype=int)
        assert table.dtype.names == ("object", "RGB", "infrared", "pointcloud")
        assert np.atleast_1d(table["object"]).tolist() == [int(path.stem) for path in scans]
        assert set(np.atleast_1d(table["RGB"])) == {int(folder != "good")}
        assert set(np.atleast_1d(table["pointcloud"])) == {int(folder not in ("good", "color"))}
        for path in scans:
            mesh = o3d.io.read_triangle_mesh(str(path)).remove_duplicated_vertices()
            points = np.asarray(mesh.vertices)
            assert 20_000 < len(points) < 118_000
            assert 15 < np.ptp(points, axis=0).max() < 30
            label = category / f"Pointcloud/GT/{folder}/{path.stem}.txt"
            assert label.exists() == (folder not in ("good", "color"))
            if label.exists():
                rows = np.genfromtxt(label, delimiter=",")
                assert rows.shape[1] == 3
                distances, at = cKDTree(points).query(rows)
                assert distances.max() < 1e-5
                assert len(set(at)) == len(rows)
                assert (np.diff(at) < 0).any(), "rows are in the points' order"
                assert 0.002 < len(rows) / len(points) < 0.05


# What the scans show -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layout", "category"), FIRST)
def test_the_workflows_clouds_show_object_and_defects(root, tmp_path, layout, category):
    unorganised = LAYOUTS[layout].scene is None
    options = OPTIONS | {
        "normals": {"radius": 0.8, "neighbours": 30} if unorganised else {"radius": 0.1, "neighbours": 50}
    }
    if layout == "anomaly_shapenet":
        options["unit"] = 0.02
    output = tmp_path / "clouds.zarr.zip"
    entry = {"name": layout, **asdict(LAYOUTS[layout])}
    make_clouds(root / layout, output, layout, entry, category, options, {})
    with stores.read(output, "clouds") as store:
        defects = [store.scan_attributes(scan)["defective"] for scan in store.scans]
        assert sum(defects) == SCANS // 2
        for scan, defective in zip(store.scans, defects, strict=True):
            cloud = store.load(scan, ["points", "labels"])
            assert len(cloud["points"]) > 8000
            extent = np.ptp(cloud["points"], axis=0).max()
            assert 15 < extent < 40 if unorganised else 0.07 < extent < 0.13
            assert 0.002 < cloud["labels"].mean() < 0.04 if defective else not cloud["labels"].any()


def check_in_the_grid(shape):
    """What holds of every shape, whoever draws it."""
    assert np.isfinite(shape.height).all()
    assert (shape.height >= 0).all()
    assert 0 <= shape.colour.min() < shape.colour.max() <= 1
    rim = np.ones(shape.height.shape, bool)
    rim[1:-1, 1:-1] = False
    assert not shape.inside[rim].any()


@pytest.mark.parametrize(("layout", "category"), ALL)
def test_shapes_lie_in_the_grid_and_vary(layout, category):
    shapes = [make_shape(category, np.random.default_rng(seed)) for seed in range(3)]
    for shape in shapes:
        check_in_the_grid(shape)
        assert 0.08 < shape.inside.mean() < 0.7
    assert not np.array_equal(shapes[0].height, shapes[1].height)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("category", ["cable_gland", "Confetto", "starfish"])
def test_a_defect_is_marked_where_the_shape_changes_and_nowhere_else(category, kind):
    assert set(DEFECTS) == set(KINDS)
    for seed in range(3):
        before = make_shape(category, np.random.default_rng(seed))
        after = make_shape(category, np.random.default_rng(seed))
        add_defect(after, kind, np.array([0.0, 0.0, 1.0]), np.random.default_rng(seed + 10))
        change = after.height - before.height
        tint = np.abs(after.colour - before.colour).max(axis=2)
        assert not (((change != 0) | (tint > 0)) & ~after.defect).any()
        assert 0.002 < after.defect.sum() / before.inside.sum() < 0.03
        inner = after.defect
        if kind == "stain":
            assert (change == 0).all()
            assert np.median(tint[inner]) > 0.1
        elif kind in ("bump", "contamination"):
            assert change[inner].max() > 0.02
            assert (change >= 0).all()
        else:
            assert change[inner].min() < -0.02
            assert (change <= 0).all()
        # A defect is wider than a few cells, so that it covers several pixels.
        assert inner.sum() * CELL**2 > 0.004
