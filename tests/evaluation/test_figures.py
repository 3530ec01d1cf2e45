"""Figures: which pixel shows which score, what shares a range of colours, letters of a readable size, captions."""

import io

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image

from pointad_core.evaluation import figures
from pointad_core.evaluation.figures import FONT, Line, caption_of, draw_figure, find_ranges, float_tex, scan_auroc


def blocks(seed: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """A map of 6 x 6 values with a hole."""
    values = np.random.default_rng(seed).uniform(low, high, (6, 6))
    values[1, 2] = np.nan
    return values


def png(figure: Figure) -> np.ndarray:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return np.asarray(Image.open(file).convert("RGB")).astype(int)


def turbo(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Colours by the table itself: 256 colours in even steps."""
    table = np.rint(np.array([colormaps["turbo"](index)[:3] for index in range(256)]) * 255)
    steps = np.clip(np.floor((values - low) / (high - low) * 256), 0, 255)
    return np.where(np.isnan(values)[..., None], 255, table[np.nan_to_num(steps).astype(int)])


def drawn_panels(figure: Figure, size: int) -> list[np.ndarray]:
    """Colours [size, size, 3] in the middle of the pixels of each image in the picture, scales left out."""
    picture, found = png(figure), []
    for axes in figure.axes:
        if axes.images and axes.images[0].get_array().shape[:2] == (size, size):
            box = axes.get_window_extent()
            xs = box.x0 + (np.arange(size) + 0.5) / size * box.width
            ys = picture.shape[0] - box.y1 + (np.arange(size) + 0.5) / size * box.height
            found.append(picture[np.ix_(ys.astype(int), xs.astype(int))])
    return found


def test_every_pixel_shows_its_score_and_a_missing_point_is_white() -> None:
    maps = [blocks(seed, high=1 + seed) for seed in range(4)]
    image = np.random.default_rng(9).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    lines = [Line("Photograph", [image, None]), Line("A", maps[:2]), Line("B", maps[2:])]
    panels = drawn_panels(draw_figure(lines, ["one", "two"], scope="line"), 6)
    assert len(panels) == 5
    assert np.array_equal(panels[0], image)
    for position, (k, pair) in enumerate([(0, maps[:2]), (1, maps[:2]), (0, maps[2:]), (1, maps[2:])]):
        both = np.concatenate([part[np.isfinite(part)] for part in pair])
        low, high = np.percentile(both, 1), np.percentile(both, 99.9)
        assert np.abs(panels[1 + position] - turbo(pair[k], low, high)).max() <= 1
        assert (panels[1 + position][1, 2] == 255).all()


def test_ranges_are_of_a_map_of_a_line_or_of_the_figure() -> None:
    maps = [blocks(seed, low=seed, high=seed + 1) for seed in range(4)]
    lines = [
        Line("a", [np.zeros((6, 6), np.uint8), *maps[:2]]),
        Line("b", [None, "none", maps[2]]),
        Line("c", maps[3:]),
    ]
    assert find_ranges(lines, "map")[0][0] is None
    assert find_ranges(lines, "map")[1][:2] == [None, None]
    of_maps = [found for line in find_ranges(lines, "map") for found in line if found]
    assert [round(low) for low, _ in of_maps] == [0, 1, 2, 3]
    of_lines = find_ranges(lines, "line")
    assert of_lines[0][1] == of_lines[0][2] != of_lines[1][2]
    ends = [np.percentile(np.concatenate([part[np.isfinite(part)] for part in maps[:2]]), q) for q in (1, 99.9)]
    assert of_lines[0][1] == pytest.approx(ends)
    assert len({found for line in find_ranges(lines, "figure") for found in line if found}) == 1


@pytest.mark.parametrize(("scope", "numbers"), [("map", 0), ("line", 4), ("figure", 2)])
def test_the_scale_says_the_numbers_of_what_shares_it(scope: figures.Scope, numbers: int) -> None:
    lines = [
        Line("Render", [np.zeros((6, 6), np.uint8)] * 2),
        *(Line(str(k), [blocks(k), blocks(9)]) for k in range(2)),
    ]
    figure = draw_figure(lines, ["one", "two"], scope=scope)
    told = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert len([text for text in told if text.replace(".", "").isdigit()]) == numbers
    assert ("low" in told) is (scope == "map")


@pytest.mark.parametrize("columns", [1, 2, 8, 12])
def test_letters_can_be_read_and_lie_inside_the_page_and_apart(columns: int) -> None:
    names = ["licorice sandwich", "PointAD+-CoOp", "cable gland", "PointAD", "peppermint candy", "tire"]
    lines = [
        Line("Ground truth", [np.zeros((9, 9, 3), np.uint8)] * columns),
        *(Line("PointAD+-CoOp M3D", [np.linspace(0, 1, 81).reshape(9, 9) / ten] * columns) for ten in (1, 5e2, 2e4)),
    ]
    half = columns // 2
    groups = [("MVTec3D layout, cross-category", columns - half), ("Eyecandies layout, cross-dataset", half)]
    heads = [names[k % 6] for k in range(columns)]
    figure = draw_figure(lines, heads, [group for group in groups if group[1]])
    figure.draw_without_rendering()
    assert figure.get_figwidth() == 7
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    assert len(texts) == len(lines) + columns + len(groups) - (not half) + 2 * 3
    assert {"".join(text.get_text().split()) for text in figure.texts} >= {"".join(head.split()) for head in heads}
    assert min(text.get_fontsize() for text in texts) >= FONT >= 7
    boxes = [text.get_window_extent() for text in texts]
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
    panels = [axes.get_window_extent() for axes in figure.axes if axes.images]
    for k, box in enumerate(boxes):
        assert not [other for other in boxes[:k] if box.overlaps(other)]
        assert not [panel for panel in panels if box.overlaps(panel)], texts[k].get_text()


def test_the_same_figure_gives_the_same_bytes(tmp_path) -> None:
    for name in ("a.pdf", "b.pdf"):
        figure = draw_figure([Line("A", [blocks(1), blocks(2)])], ["one", "two"], [("both", 2)])
        figures.write_pdf(figure, tmp_path / name)
    content = (tmp_path / "a.pdf").read_bytes()
    assert content == (tmp_path / "b.pdf").read_bytes()
    assert b"Date" not in content
    assert b"/Type3" not in content


def test_the_auroc_of_a_scan_counts_pairs() -> None:
    rng = np.random.default_rng(3)
    scores, labels = rng.integers(0, 6, 60) / 6, rng.integers(0, 2, 60)
    pairs = [(good, bad) for good in scores[labels == 0] for bad in scores[labels == 1]]
    naive = sum(1.0 if bad > good else 0.5 if bad == good else 0.0 for good, bad in pairs) / len(pairs)
    assert scan_auroc(scores, labels) == pytest.approx(naive, abs=1e-12)
    assert scan_auroc(scores, np.zeros(60)) is None
    assert scan_auroc(scores, np.ones(60)) is None


def test_a_caption_says_the_colours_the_prompts_the_rule_and_the_data() -> None:
    looks = [{"title": name.title(), "method": name} for name in ("one", "other")]
    group = {"learnt": "cookie of Parts (seed 1)", "rule": {"better": "explicit", "than": "implicit"}}
    group["categories"] = [{"looks": looks}]
    figure = {
        "caption": "Maps & more.",
        "colours": "line",
        "maps": ["explicit", "implicit"],
        "groups": [group, group],
        "methods": {name: {"features": "small"} for name in ("one", "other")},
        "features": {"small": {"model": "pocket", "random_seed": 7}},
        "generated": ["Parts"],
    }
    text = caption_of(figure)
    assert text.startswith("Maps & more. ")
    assert text.count("seed 7, never trained") == 1
    for said in (
        "a line share one range",
        "cookie of Parts (seed 1)",
        "Generated data (Parts)",
        "explicit map exceeds",
    ):
        assert text.count(said) == 1
    assert "Generated" not in caption_of({**figure, "generated": []})
    assert "zero-shot" not in text
    several = {**figure, "methods": {**figure["methods"], "other": {"features": "small", "batch": True}}}
    assert caption_of(several).count("Batch zero-shot: Other. They score a scan by the other test scans") == 1
    assert "Prompts" not in caption_of({**figure, "groups": [{**group, "learnt": None}]})
    rules = ("first", "median", "named")
    for rule, said in zip(rules, ("first defective", "median P-AUROC (the mean", "named in"), strict=True):
        assert said in caption_of({**figure, "groups": [{**group, "rule": {"pick": rule}}]})
    assert r"Maps \& more." in float_tex("figure5", text)
    assert "{figure5.pdf}" in float_tex("figure5", text)
