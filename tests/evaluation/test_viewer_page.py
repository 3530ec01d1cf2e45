"""The viewer's page in a browser: that it draws, and that its numbers and colours are right."""

import json
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from browser import MISSING, Browser
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

from pointad_core.evaluation import packing, viewer
from pointad_core.evaluation.viewer import Shown, View, write_viewer
from tests.evaluation.test_viewer import HOSTILE

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} not installed")

STAGE = {"light": (0xE9, 0xEB, 0xEE), "dark": (0x38, 0x3E, 0x46)}
MUTED = (0xB4, 0xB9, 0xC0)
MISSED, FOUND, ALARM = (217, 41, 41), (33, 166, 84), (242, 168, 26)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = Browser()
    yield found
    found.close()


class Page:
    """Writes a page and opens it; at the end of the test the browser has nothing to complain about."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.browser, self.path = browser, folder / "page.html"

    def __call__(self, *scans: Shown, title: str = "Parts", **options: object) -> Browser:
        write_viewer(self.path, scans, title)
        self.browser.open(self.path, **options)  # type: ignore[arg-type]
        return self.browser


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    opened = Page(browser, tmp_path)
    yield opened
    browser.check_quiet(opened.path)


def sheet(side: int = 61, **changes: object) -> Shown:
    """A flat square of side 1 that faces the viewer; its score rises from 0 at the left to 1 at the right."""
    rows, columns = np.mgrid[:side, :side].reshape(2, -1) / (side - 1)
    points = np.stack([columns, 1 - rows, np.zeros(side * side)], axis=1).astype(np.float32)
    return Shown(**{"name": "sheet", "points": points, "scores": {"score": columns.astype(np.float32)}, **changes})


def blobs(n: int = 1500, seed: int = 0, **changes: object) -> Shown:
    rng = np.random.default_rng(seed)
    centres = rng.random((5, 3)) * 20
    points = (centres[rng.integers(0, 5, n)] + rng.normal(size=(n, 3))).astype(np.float32)
    near = np.exp(-np.linalg.norm(points[:, None] - centres, axis=2).min(1))
    scores = {"score": (near + 0.1 * rng.random(n)).astype(np.float32), "rgb": rng.random(n).astype(np.float32)}
    return Shown(**{"name": f"blobs {seed}", "points": points, "scores": scores, **changes})


def close(image: np.ndarray, colour: object, tolerance: int = 3) -> np.ndarray:
    return np.abs(image - np.asarray(colour)).max(axis=-1) <= tolerance


def plain(browser: Browser, marked: bool = False) -> None:
    """Colours as they are, without shade."""
    browser.set("shading", False)
    browser.set("marked", marked)


# Drawing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "scheme"), [("viridis", "light"), ("inferno", "dark")])
def test_the_colours_are_those_of_the_scale(page: Page, name: str, scheme: str) -> None:
    browser = page(sheet(), scheme=scheme)
    plain(browser)
    browser.set("colours", name)
    image = browser.look()
    background = close(image, STAGE[scheme], 0)
    assert 0.1 < background.mean() < 0.9
    rows, columns = np.nonzero(~background)
    left, right = columns.min(), columns.max()
    assert right - left == pytest.approx(rows.max() - rows.min(), abs=3), "a square"
    low, high = viewer.find_range(sheet().scores["score"])
    for share in (0.05, 0.3, 0.5, 0.7, 0.95):
        found = image[rows.min() + 60, round(left + share * (right - left))]
        # matplotlib's own table; the page has 17 of its 256 colours, and a point is a sixtieth of the square wide.
        expected = [
            matplotlib.colormaps[name]((share + shift - low) / (high - low), bytes=True)[:3]
            for shift in (-0.02, 0, 0.02)
        ]
        assert np.abs(np.asarray(expected).astype(int) - found).max(axis=1).min() <= 10, share
    assert (found != image[rows.min() + 60, left + 30]).any()


def test_the_range_of_the_colours_can_be_changed_and_comes_back(page: Page) -> None:
    browser = page(sheet())
    plain(browser)
    before = browser.look()
    browser.set("low", 0.5)
    image = browser.look()
    scale = matplotlib.colormaps["viridis"]
    assert close(image, [255 * c for c in scale(0.0)[:3]], 4).sum() > 0.4 * (~close(image, STAGE["light"], 0)).sum()
    browser.set("high", 0.2)
    assert np.array_equal(browser.look(), image), "an empty range is not taken"
    assert browser.run("return document.getElementById('low').validity.valid") is False
    browser.find("fit").click()
    browser.settle()
    assert np.array_equal(browser.look(), before)


def test_points_without_a_score_are_grey_and_never_above(page: Page) -> None:
    score = sheet().scores["score"].copy()
    score[score > 0.5] = np.nan
    browser = page(sheet(scores={"score": score}))
    plain(browser)
    image = browser.look()
    assert 0.4 < close(image, MUTED, 0).sum() / (~close(image, STAGE["light"], 0)).sum() < 0.6
    browser.set("threshold-value", -1)
    assert browser.number("above") == np.count_nonzero(~np.isnan(score))


def test_the_slider_marks_what_is_above(page: Page) -> None:
    browser = page(sheet(threshold=0.75))
    browser.set("shading", False)
    assert browser.run("return document.getElementById('marked').checked")
    images = [browser.look()]
    for steps in (510, 260):
        browser.set("threshold", steps, "input")
        images.append(browser.look())
    bright = [(image[..., 1] - image[..., 0] > 60).sum() / (~close(image, STAGE["light"], 0)).sum() for image in images]
    muted = [close(image, MUTED, 40).sum() for image in images]
    assert muted[0] > muted[1] > muted[2] > 0
    assert bright[0] < bright[1]
    assert browser.number("above") == np.count_nonzero(sheet().scores["score"] > 0.26)
    browser.set("marked", False)
    assert close(browser.look(), MUTED, 3).sum() == 0


def test_own_colours_ground_truth_and_scores_are_a_switch_away(page: Page) -> None:
    score = sheet().scores["score"]
    colours = np.full((len(score), 3), (10, 120, 230), np.uint8)
    truth = sheet().points[:, 1] > 0.5
    scan = sheet(colours=colours, truth=truth, scores={"score": score, "rgb": score[::-1].copy()}, threshold=0.5)
    browser = page(scan)
    plain(browser)
    browser.run("document.querySelector('input[name=mode][value=\"1\"]').click()")
    browser.settle()
    image = browser.look()
    # All but what the browser mixes at the edges.
    assert (close(image, (10, 120, 230), 0) | close(image, STAGE["light"], 0)).mean() > 0.995
    assert close(image, (10, 120, 230), 0).mean() > 0.5
    browser.run("document.querySelector('input[name=mode][value=\"2\"]').click()")
    browser.set("marked", True)
    image = browser.look()
    rows, columns = np.nonzero(~close(image, STAGE["light"], 0))
    (top, bottom), (left, right) = (
        np.quantile(rows, [0.2, 0.8]).astype(int),
        np.quantile(columns, [0.2, 0.8]).astype(int),
    )
    for place, colour in (
        ((top, left), MISSED),
        ((top, right), FOUND),
        ((bottom, left), MUTED),
        ((bottom, right), ALARM),
    ):
        assert close(image[place], colour), place
    assert browser.find("legend").is_displayed()
    browser.run("document.querySelector('input[name=mode][value=\"0\"]').click()")
    plain(browser)
    before = browser.look()
    browser.set("score", 1)
    after = browser.look()
    assert np.abs(after[:, ::-1] - before).mean() < 3, "the mirrored score is the mirrored picture"
    assert np.abs(after - before).mean() > 20


# Numbers --------------------------------------------------------------------------------------------------------------


def naive_regions(points: np.ndarray, above: np.ndarray, reach: float) -> list[tuple[int, float]]:
    """Points and box diagonal of every region, by visiting all neighbours of all points."""
    near = np.linalg.norm(points[:, None] - points, axis=2) <= reach
    waiting, found = set(np.flatnonzero(above).tolist()), []
    while waiting:
        region, edge = [], [waiting.pop()]
        while edge:
            i = edge.pop()
            region.append(i)
            reached = waiting & set(np.flatnonzero(near[i]).tolist())
            waiting -= reached
            edge += reached
        found.append((len(region), float(np.linalg.norm(np.ptp(points[region], axis=0)))))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_numbers_are_those_of_a_naive_count(page: Page, seed: int) -> None:
    scan = blobs(seed=seed, facts={"unit": "mm"})
    points, score = scan.points.astype(float), scan.scores["score"]
    browser = page(scan)
    reach = 2 * packing.find_spacing(scan.points)
    for threshold in (*np.quantile(score, [0, 0.4, 0.8, 0.95, 0.999]).tolist(), -1.0, 2.0):
        # Between two scores: those of the page are rounded to a 65,534th of their range.
        ordered = np.sort(score.astype(float))
        place = np.searchsorted(ordered, threshold)
        if 0 < place < len(ordered):
            threshold = float(ordered[place - 1 : place + 1].mean())
        browser.set("threshold-value", threshold)
        expected = naive_regions(points, score > threshold, reach)
        assert browser.number("above") == np.count_nonzero(score > threshold)
        assert browser.number("share") == pytest.approx(100 * np.mean(score > threshold), rel=0.01)
        assert browser.number("regions") == len(expected)
        rows = browser.table("region-table")
        assert [int(row[1].replace(",", "")) for row in rows] == [count for count, _ in expected[:6]]
        largest = {count for count, _ in expected}
        for row in rows:
            count = int(row[1].replace(",", ""))
            extents = [extent for number, extent in expected if number == count]
            assert count in largest
            assert min(abs(float(row[3]) - extent) for extent in extents) <= 0.01 * max(extents) + 1e-3
    assert "Extent (mm)" in browser.text("region-table")


def test_points_have_the_numbers_that_they_are_given(page: Page) -> None:
    scan = blobs(numbers=np.random.default_rng(0).permutation(10**6)[:1500])
    browser = page(scan)
    browser.find("highest").click()
    highest = int(np.argmax(scan.scores["score"]))
    assert dict(browser.table("point"))["index"] == str(scan.numbers[highest])  # type: ignore[index]


def test_a_thinned_scan_says_so_and_keeps_its_highest_score(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "MOST_POINTS", 400)
    scan = blobs()
    browser = page(scan)
    assert browser.number("counted") == 400
    assert browser.table("facts")[0][1].startswith(
        "400 of 1,500 points: of each neighbourhood the one with the highest score"
    )
    browser.find("highest").click()
    rows = dict(browser.table("point"))
    highest = int(np.argmax(scan.scores["score"]))
    assert int(rows["index"]) == highest
    assert float(rows["rgb"]) == pytest.approx(scan.scores["rgb"][highest], abs=1e-3)
    assert np.allclose([float(x) for x in rows["place"].split(",")], scan.points[highest], atol=1e-3)


# Ways about -----------------------------------------------------------------------------------------------------------


def test_the_scan_is_turned_and_zoomed_by_keys_alone(page: Page) -> None:
    browser = page(blobs())
    for _ in range(30):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        if browser.driver.switch_to.active_element.get_attribute("id") == "canvas":
            break
    else:
        pytest.fail("the canvas cannot be reached with the tab key")
    browser.settle()
    start = browser.look()
    seen = [start]
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_UP, "q", "+", Keys.SHIFT + Keys.ARROW_LEFT):
        ActionChains(browser.driver).send_keys(key).perform()
        ActionChains(browser.driver).key_up(Keys.SHIFT).perform()
        browser.settle()
        seen.append(browser.look())
        assert np.abs(seen[-1] - seen[-2]).mean() > 0.1, key
    ActionChains(browser.driver).send_keys("0").perform()
    browser.settle()
    assert np.array_equal(browser.look(), start)
    ActionChains(browser.driver).send_keys(Keys.ENTER).perform()
    assert dict(browser.table("point"))["index"] == str(int(np.argmax(blobs().scores["score"])))


def test_the_pointer_turns_moves_zooms_and_reads(page: Page) -> None:
    browser = page(sheet(side=21))
    canvas = browser.find("canvas")
    image = browser.look()
    middle = np.array(image.shape[:2]) / 2
    # A margin of 4 % stays around the square of side 1.
    scale = 0.92 * min(image.shape[:2])
    row, column = 5, 16
    at = ((column / 20 - 0.5) * scale, (row / 20 - 0.5) * scale)
    ActionChains(browser.driver).move_to_element_with_offset(canvas, round(at[0]), round(at[1])).perform()
    browser.settle()
    found = dict(browser.table("point"))
    assert found["index"] == str(row * 21 + column)
    assert float(found["score"]) == pytest.approx(column / 20, abs=1e-3)
    assert [float(x) for x in found["place"].split(",")] == pytest.approx([column / 20, 1 - row / 20, 0], abs=1e-3)
    assert browser.find("ring").is_displayed()
    ActionChains(browser.driver).double_click().perform()
    browser.settle()
    ring = browser.run("const s = document.getElementById('ring').style; return [s.left, s.top].map(parseFloat)")
    assert ring == pytest.approx(middle[::-1].tolist(), abs=1), "the double click made it the centre"
    before = browser.look()
    ActionChains(browser.driver).drag_and_drop_by_offset(canvas, 120, 0).perform()
    browser.settle()
    turned = browser.look()
    width = [np.ptp(np.nonzero(~close(image, STAGE["light"], 0))[1]) for image in (before, turned)]
    assert width[1] < 0.8 * width[0]
    browser.find("reset").click()
    browser.settle()
    ActionChains(browser.driver).scroll_from_origin(ScrollOrigin.from_element(canvas), 0, 300).perform()
    browser.settle()
    zoomed = browser.look()
    areas = [(~close(picture, STAGE["light"], 0)).mean() for picture in (image, zoomed)]
    # At most 200 pixels of the wheel count at once.
    assert areas[1] == pytest.approx(areas[0] * np.exp(-2 * 0.3), rel=0.05)


def test_two_fingers_zoom(page: Page) -> None:
    browser = page(sheet())
    before = (~close(browser.look(), STAGE["light"], 0)).mean()
    box = browser.run("const b = canvas.getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height / 2]")
    for kind, spread in (("touchStart", 60), ("touchMove", 50), ("touchMove", 30), ("touchEnd", 0)):
        points = (
            [{"x": box[0] + side * spread, "y": box[1], "id": k} for k, side in enumerate((-1, 1))] if spread else []
        )
        browser.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    browser.settle()
    assert (~close(browser.look(), STAGE["light"], 0)).mean() == pytest.approx(before / 4, rel=0.1)


def test_one_of_several_scans_is_chosen(page: Page) -> None:
    scans = [blobs(seed=0), sheet(facts={"decision": "defective"}), blobs(seed=2, n=300)]
    browser = page(*scans)
    assert browser.number("counted") == 1500
    browser.find("next").click()
    browser.settle()
    assert browser.number("counted") == 61 * 61
    assert ["decision", "defective"] in browser.table("facts")
    assert not browser.find("score-choice").is_displayed(), "it has one score"
    assert not browser.find("modes").is_displayed(), "and neither colours nor ground truth"
    first = browser.look()
    browser.run("document.getElementById('canvas').focus()")
    ActionChains(browser.driver).send_keys(Keys.PAGE_DOWN).perform()
    browser.settle()
    assert browser.number("counted") == 300
    browser.set("scan", 1)
    browser.settle()
    assert np.array_equal(browser.look(), first)
    # A threshold that was set goes along, so that scans are compared.
    browser.set("threshold-value", 0.5)
    browser.set("scan", 0)
    assert browser.number("above") == np.count_nonzero(scans[0].scores["score"] > 0.5)


def test_views_show_their_maps_and_are_enlarged(page: Page) -> None:
    image = np.full((40, 60, 3), 100, np.uint8)
    scores = np.full((40, 60), np.nan, np.float32)
    scores[10:30, 20:40] = np.linspace(0, 1, 20)
    browser = page(sheet(views=[View("front", image, scores), View("back", image)]))
    assert browser.text("views") == "frontback"
    with_map = browser.look("views")
    browser.find("overlay").click()
    without = browser.look("views")
    assert np.abs(with_map - without).max() > 50
    browser.find("overlay").click()
    browser.run("document.querySelector('#views button').click()")
    assert browser.text("large-name") == "front"
    large = browser.look("large-image")
    assert large.shape[1] > 300
    assert close(large[5, 5], (100, 100, 100), 6), "no score, no colour"
    row = large.shape[0] // 2
    for share, column in ((0.0, 20.5), (1.0, 39.4)):
        over = 0.6 * np.array(matplotlib.colormaps["viridis"](share)[:3]) * 255 + 0.4 * 100
        assert close(large[row, round(column * large.shape[1] / 60)], over, 14)
    ActionChains(browser.driver).send_keys(Keys.ESCAPE).perform()
    assert not browser.find("large").is_displayed()


# What a page must never do --------------------------------------------------------------------------------------------


def test_names_are_shown_and_never_run(page: Page) -> None:
    views = [View(text, np.zeros((4, 4, 3), np.uint8)) for text in HOSTILE]
    scans = [
        sheet(name=text, scores={text: sheet().scores["score"]}, facts={text: text, "unit": text}, views=views)
        for text in HOSTILE
    ]
    title = HOSTILE[0] + HOSTILE[1]
    browser = page(*scans, title=title)
    assert browser.text("title") == browser.driver.execute_script("return document.title") == title
    for index, text in enumerate(HOSTILE):
        browser.set("scan", index)
        # A surrogate that is alone has no place in what the driver sends.
        shown = text.encode("utf-8", "replace").decode()
        script = (
            "const text = JSON.parse(arguments[0]);"
            "const same = (element) => element.textContent === text;"
            "return [...document.getElementById('facts').rows].some((row) => [...row.cells].every(same))"
            " && [...document.querySelectorAll('#views span')].some(same)"
            " && same(document.getElementById('scan').selectedOptions[0])"
        )
        assert browser.run(script, json.dumps(text)), shown
        browser.find("highest").click()
    assert browser.run("return window.harmed === undefined && document.images.length === 0")
    assert (
        browser.run(
            "return document.querySelectorAll('svg, iframe, object, script:not([id]):not([type=module])').length"
        )
        == 0
    )


def test_what_the_policy_forbids_is_refused(browser: Browser, tmp_path: Path) -> None:
    """The policy holds in the browser: a script, an image or a request that came in all the same would do nothing."""
    Page(browser, tmp_path)(sheet())
    tries = (
        "const done = arguments[0]; const blocked = [];"
        "document.addEventListener('securitypolicyviolation', (event) => blocked.push(event.effectiveDirective));"
        "const script = document.createElement('script'); script.textContent = 'window.harmed = 1';"
        "document.body.append(script); new Image().src = 'https://example.org/x.png';"
        "fetch('https://example.org/').catch(() => setTimeout(() => done([blocked.sort(), window.harmed]), 100))"
    )
    blocked, harmed = browser.driver.execute_async_script(tries)
    assert blocked == ["connect-src", "img-src", "script-src-elem"]
    assert harmed is None
    messages = [entry["message"] for entry in browser.driver.get_log("browser")]
    assert len(messages) >= 3
    assert all("Content Security Policy" in message for message in messages)


@pytest.mark.parametrize(
    ("without", "sentence"),
    [
        ("HTMLCanvasElement.prototype.getContext = () => null", "this browser offers no WebGL 2"),
        ("delete window.DecompressionStream", "this browser is too old"),
    ],
)
def test_a_browser_that_cannot_draw_it_says_so(page: Page, without: str, sentence: str) -> None:
    browser = page(sheet(), before=without)
    notice = browser.find("notice")
    assert notice.is_displayed()
    assert sentence in notice.text


COUNT = (
    "window.drawn = []; const draw = WebGL2RenderingContext.prototype.drawArrays;"
    "WebGL2RenderingContext.prototype.drawArrays = function (mode, first, count) {"
    " if (mode === this.POINTS) window.drawn.push(count); return draw.call(this, mode, first, count); };"
)
"""Keeps how many points each frame drew."""


def test_nothing_is_drawn_unless_something_changes(page: Page) -> None:
    browser = page(blobs(), before=COUNT)
    drawn = len(browser.run("return window.drawn"))  # type: ignore[arg-type]
    assert 0 < drawn < 12
    browser.settle()
    assert len(browser.run("return window.drawn")) == drawn  # type: ignore[arg-type]
    browser.run("document.getElementById('canvas').focus()")
    ActionChains(browser.driver).send_keys(Keys.ARROW_LEFT).perform()
    browser.settle()
    after = browser.run("return window.drawn")
    assert isinstance(after, list)
    assert drawn < len(after) <= drawn + 3
    assert after[-1] == 1500, "at rest all points are drawn"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_window_needs_no_sideways_scrolling(page: Page, scheme: str) -> None:
    long = "a_name_without_any_place_to_break_it_" * 4
    scan = blobs(name=long, facts={"file": "/data/" + long, "unit": "mm"}, colours=np.zeros((1500, 3), np.uint8))
    browser = page(scan, scan, title=long, size=(360, 740), scheme=scheme)
    wide = browser.run("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] <= wide[1]  # type: ignore[index]
    assert browser.look().shape[0] > 300
    # Text on its ground, by the contrast that WCAG asks for.
    script = (
        "const style = getComputedStyle(document.documentElement);"
        "return ['text', 'quiet', 'panel'].map((name) => style.getPropertyValue('--' + name))"
    )
    text, quiet, panel = (luminance(colour) for colour in browser.run(script))  # type: ignore[union-attr]
    for colour in (text, quiet):
        assert (max(colour, panel) + 0.05) / (min(colour, panel) + 0.05) > 4.5


def luminance(colour: str) -> float:
    channels = [int(colour.strip()[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_control_has_a_name(page: Page) -> None:
    browser = page(blobs(truth=np.arange(1500) % 2 == 0), blobs(seed=1))
    script = (
        "return [...document.querySelectorAll('button, select, input')].filter((control) =>"
        " !control.labels?.length && !control.getAttribute('aria-label') && !control.textContent.trim())"
        ".map((control) => control.outerHTML)"
    )
    assert browser.run(script) == []


def test_a_large_scan_is_turned_with_fewer_points_and_shown_with_all(page: Page) -> None:
    n = 200_000
    angle, height = np.random.default_rng(0).random((2, n)) * [[2 * np.pi], [3]]
    points = np.stack([np.cos(angle), height, np.sin(angle)], axis=1).astype(np.float32)
    scan = Shown("pipe", points, {"score": height.astype(np.float32)})
    browser = page(scan, before=COUNT)
    assert page.path.stat().st_size < 8e6
    turn = (
        "const done = arguments[0]; const canvas = document.getElementById('canvas'); let left = 15; window.drawn = [];"
        "const step = () => { canvas.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}));"
        " if (left--) requestAnimationFrame(step); else done(); }; step();"
    )
    browser.driver.execute_async_script(turn)
    browser.settle()
    drawn = browser.run("return window.drawn")
    assert isinstance(drawn, list)
    assert drawn[-1] == n
    assert all(0.05 * n <= count <= n for count in drawn)
