"""Missing points, units and other people's files through the layouts' readers."""

import struct

import numpy as np
import pytest
import tifffile
from raw_files import eyecandies_sample, mvtec_scan, pcd, plane_and_ball, png, rows, tiff, write

from pointad_core.datasets.registry import reader
from pointad_core.errors import InputError


def mvtec(root, change, **options):
    """A scan of MVTec's layout, read with its missing points written otherwise: (as it should be, as it was read)."""
    points, rgb, gt, _ = plane_and_ball()
    files = mvtec_scan(root, "bolt/test/bent/000", points, rgb, gt)
    (scan,) = reader("mvtec3d").find_scans(root, "bolt")
    expected = reader("mvtec3d").read(scan)
    changed = points.copy()
    write(files["xyz"], change(changed, ~expected.valid))
    return expected, reader("mvtec3d").read(scan, **options)


def put(*mark):
    def change(points, missing):
        for axis, value in enumerate(mark):
            if value is not None:
                points[missing, axis] = value
        # x and y that are kept are those of the pixel.
        line = np.linspace(-0.05, 0.05, len(points))
        for axis, grid in enumerate(np.meshgrid(line, line)):
            if mark[axis] is None:
                points[..., axis] = np.where(missing, grid, points[..., axis])
        return tiff(points)

    return change


@pytest.mark.parametrize(
    ("mark", "name"),
    [
        ((0, 0, 0), "(0, 0, 0)"),
        ((np.nan,) * 3, "NaN"),
        ((None, None, np.nan), "NaN"),
        ((-1, -1, -1), "(-1, -1, -1)"),
        ((None, None, 0), "z = 0"),
        ((None, None, -1), "z = -1"),
        ((1e4, 1e4, 1e4), "(10000, 10000, 10000)"),
        ((None, None, 1e4), "z = 10000"),
        ((None, None, 65535), "z = 65535"),
    ],
)
def test_a_missing_point_is_one_however_it_is_marked(tmp_path, mark, name):
    expected, raw = mvtec(tmp_path, put(*mark))
    np.testing.assert_array_equal(raw.valid, expected.valid)
    np.testing.assert_array_equal(raw.points, expected.points)
    assert raw.points.tobytes() == expected.points.tobytes()
    lost = np.count_nonzero(~raw.valid)
    assert raw.notes == (f"{lost} of 3600 points are missing ({name}: {lost})",)


def test_the_config_knows_better(tmp_path):
    expected, raw = mvtec(tmp_path, put(None, None, 0.7), mark=0.7)
    np.testing.assert_array_equal(raw.valid, expected.valid)
    _, raw = mvtec(tmp_path, put(0, 0, 0), mark="none")
    assert raw.valid.all()


def test_planes_and_integers(tmp_path):
    def planar(points, missing):
        tifffile.imwrite(tmp_path / "p.tiff", np.moveaxis(points, 2, 0), photometric="rgb", planarconfig="separate",
                         compression="lzw", predictor=True)  # fmt: skip
        return (tmp_path / "p.tiff").read_bytes()

    expected, raw = mvtec(tmp_path, planar)
    assert raw.points.tobytes() == expected.points.tobytes()

    def whole(points, missing):
        tifffile.imwrite(tmp_path / "p.tiff", np.round(points * 1e6).astype(np.int32), photometric="rgb")
        return (tmp_path / "p.tiff").read_bytes()

    with pytest.raises(InputError, match=r"000.tiff: its numbers are integers \(int32\); give the unit"):
        mvtec(tmp_path, whole)
    expected, raw = mvtec(tmp_path, whole, unit="um")
    np.testing.assert_array_equal(raw.valid, expected.valid)
    np.testing.assert_allclose(raw.points * 1e-6, expected.points, atol=1e-6)


POINTS = np.random.default_rng(0).uniform(-15, 15, (400, 3)).astype(np.float32)
LABELS = POINTS[:, 0] > 10


def real3d(root, content, labels=None, **options):
    write(root / "duck/test/1_bulge.pcd", content)
    write(root / "duck/gt/1_bulge.txt", rows(POINTS, LABELS) if labels is None else labels)
    (scan,) = reader("real3d").find_scans(root, "duck")
    return reader("real3d").read(scan, **options)


def double(points: np.ndarray, width: int, height: int = 1) -> bytes:
    content = pcd(points, "binary").replace(b"SIZE 4 4 4", b"SIZE 8 8 8")
    content = content.replace(f"WIDTH {len(points)}\nHEIGHT 1".encode(), f"WIDTH {width}\nHEIGHT {height}".encode())
    return content[: content.index(b"binary\n") + 7] + points.astype("<f8").tobytes()


def test_double_precision_and_utm(tmp_path):
    raw = real3d(tmp_path, double(POINTS, 400))
    np.testing.assert_array_equal(raw.points, POINTS)
    np.testing.assert_array_equal(raw.labels, LABELS)
    assert raw.notes == ()
    far = POINTS + np.array([4e5, 5e6, 100])
    raw = real3d(tmp_path, double(far, 400), rows(far, LABELS))
    np.testing.assert_array_equal(raw.points, far)
    np.testing.assert_array_equal(raw.labels, LABELS)


@pytest.mark.parametrize("mark", [0, np.nan])
@pytest.mark.parametrize("height", [1, 20])
def test_what_is_missing_is_left_out_and_labels_follow(tmp_path, mark, height):
    points = POINTS.astype(np.float64)
    points[::4] = mark
    raw = real3d(tmp_path, double(points, 400 // height, height))
    keep = np.arange(400) % 4 > 0
    np.testing.assert_array_equal(raw.points, POINTS[keep])
    np.testing.assert_array_equal(raw.labels, LABELS[keep])
    name = "NaN" if np.isnan(mark) else "(0, 0, 0)"
    assert raw.notes == (f"100 of 400 points are missing ({name}: 100)",)
    # Labels in the order of the points, the missing ones too.
    alone = real3d(tmp_path, double(points, 400 // height, height), "label\n" + "".join(f"{int(x)}\n" for x in LABELS))
    np.testing.assert_array_equal(alone.labels, LABELS[keep])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "//X Y Z label\n" + text,
        lambda text: "\ufeffx,y,z,label\n" + text.replace(" ", ","),
        lambda text: text.replace(" 1\n", " 255\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace(" ", ",").replace("\n", ",\n"),
        lambda text: text.replace(" ", ";").replace(".", ","),
        lambda text: "x y z label score\n" + text.replace("\n", " 0.5\n"),
    ],
)
def test_label_files_as_people_write_them(tmp_path, change):
    raw = real3d(tmp_path, pcd(POINTS), change(rows(POINTS, LABELS)))
    np.testing.assert_array_equal(raw.labels, LABELS)


def test_decimal_commas_are_no_integers(tmp_path):
    content = pcd(POINTS)
    start = content.index(b"ascii\n") + 6
    with pytest.raises(InputError, match=r"1_bulge.pcd: line 12, column 1: '.*' is no number, a decimal comma"):
        real3d(tmp_path, content[:start] + content[start:].replace(b".", b","))


def test_eyecandies_says_what_is_missing(tmp_path):
    files = eyecandies_sample(tmp_path, "07", True, True)
    depth = np.full((512, 512), 30000, np.uint16)
    depth[:3] = 0
    write(files["depth.png"], png(depth))
    write(files["info_depth.yaml"], "normalization: {min: 0, max: 2}")
    (scan,) = reader("eyecandies").find_scans(tmp_path, "Gum")
    assert reader("eyecandies").read(scan).notes == ("1536 of 262144 points are missing (no depth: 1536)",)
    with pytest.raises(InputError, match=r"missing points of this layout have no depth"):
        reader("eyecandies").read(scan, mark=0)


def test_the_bytes_of_a_float_are_those_of_the_file(tmp_path):
    raw = real3d(tmp_path, pcd(POINTS, "binary"))
    assert raw.points.tobytes() == struct.pack("<1200d", *POINTS.astype(np.float64).ravel())


def naive_holes(pixels):
    """Regions of zeros, walked pixel by pixel, around which half of the pixels and more are far."""
    holes, seen = np.zeros(pixels.shape, bool), np.zeros(pixels.shape, bool)
    height, width = pixels.shape
    for start in zip(*np.nonzero(pixels == 0), strict=True):
        region, around, waiting = [], [], [start]
        while waiting:
            row, column = waiting.pop()
            if seen[row, column]:
                continue
            seen[row, column] = True
            region.append((row, column))
            for there in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if 0 <= there[0] < height and 0 <= there[1] < width:
                    if pixels[there] == 0:
                        waiting.append(there)
                    else:
                        around.append(int(pixels[there]))
        if around and np.mean(np.array(around) > 655.35) >= 0.9:
            for place in region:
                holes[place] = True
    return holes


def test_holes_in_the_depth_of_eyecandies(tmp_path):
    """A sensor writes 0 for no depth, which here stands for the nearest one as well."""
    files = eyecandies_sample(tmp_path, "07", True, True)
    rng = np.random.default_rng(5)
    # Ground that rises from the nearest row, the last one, to the farthest; and noise.
    depth = np.repeat(np.linspace(65535, 0, 512)[:, None], 512, axis=1)
    depth = np.where(depth > 0, np.clip(depth + rng.integers(-50, 50, depth.shape), 1, 65535), 0).astype(np.uint16)
    files["depth.png"].write_bytes(png(depth))
    (scan,) = reader("eyecandies").find_scans(tmp_path, "Gum")
    assert reader("eyecandies").read(scan).notes == ()
    few = depth.copy()
    few[100, 50:59] = 0
    files["depth.png"].write_bytes(png(few))
    assert reader("eyecandies").read(scan).notes == ()
    depth[rng.random(depth.shape) < 0.1] = 0
    depth[200:260, 100:180] = 0
    files["depth.png"].write_bytes(png(depth))
    raw = reader("eyecandies").read(scan)
    expected = naive_holes(depth.astype(int))
    assert expected.sum() > 30_000
    np.testing.assert_array_equal(raw.valid, ~expected)
    assert raw.valid[-1].all()
    assert raw.notes == (f"{expected.sum()} of 262144 points are missing (no depth: {expected.sum()})",)
    assert reader("eyecandies").read(scan, mark="none").valid.all()
    files["depth.png"].write_bytes(png(0 * depth))
    with pytest.raises(InputError, match="the scan is empty"):
        reader("eyecandies").read(scan)
