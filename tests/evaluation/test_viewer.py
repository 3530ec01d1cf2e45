"""The viewer's file: what stands in it, that it is the same each time, and that nothing in a name breaks out of it."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from pointad_core.errors import InputError
from pointad_core.evaluation import viewer
from pointad_core.evaluation.viewer import Shown, View, make_viewer, write_viewer

HOSTILE = (
    "</script><script>window.harmed = 1</script>",
    "<img src=x onerror='window.harmed = 1'>",
    "\"'><svg onload=window.harmed=1>",
    "--><!-- <script> {{script}} \\u003c ${harmed} `",
    "a\u2028window.harmed = 1\u2029\x00\U0001f600",
    "bytes that are no text \udcff",
)


def shown(name="part.ply", n=500, seed=0, **changes):
    rng = np.random.default_rng(seed)
    points = rng.random((n, 3)).astype(np.float32)
    scores = {"score": rng.random(n).astype(np.float32), "rgb": rng.random(n).astype(np.float32)}
    return Shown(**{"name": name, "points": points, "scores": scores, **changes})


class Elements(HTMLParser):
    """Elements of a page in their order, and the text of its scripts and styles."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts, self.inside = [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = tag in ("script", "style", "title")

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.texts.append((self.tags[-1][0], self.tags[-1][1].get("type"), data))


def test_a_page_repeats_to_the_byte_and_is_written_whole(tmp_path):
    views = [View("front", np.full((8, 9, 3), 7, np.uint8), np.eye(8, 9, dtype=np.float32))]
    scans = [shown(seed=seed, views=views, facts={"unit": "mm"}) for seed in range(2)]
    for name in ("a.html", "b.html"):
        write_viewer(tmp_path / name, scans, "Parts")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    with pytest.raises(InputError, match="no scan"):
        write_viewer(tmp_path / "a.html", [], "Parts")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_the_policy_allows_the_pages_own_script_and_style_and_nothing_else():
    found = Elements(make_viewer([shown()], "Parts"))
    policy = next(a["content"] for tag, a in found.tags if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    hashes = {
        kind: f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for kind, type_, text in found.texts
        if kind == "style" or type_ == "module"
    }
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "script-src": hashes["script"],
        "style-src": hashes["style"],
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_nothing_in_the_page_names_another_address():
    for path in viewer.PAGE.iterdir():
        assert not re.search(
            r"https?:|//[a-z]+\.|@import|\burl\(|<!--|</script", path.read_text().split("<noscript>")[0]
        )
    text = (viewer.PAGE / "page.js").read_text() + (viewer.PAGE / "views.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(", text)


def test_hostile_names_stay_in_their_json():
    plain = Elements(make_viewer([shown("a", facts={"b": "c"}) for _ in HOSTILE], "d"))
    scans = [
        shown(text, facts={text: text, "unit": text}, scores={text: np.arange(500, dtype=np.float32)})
        for text in HOSTILE
    ]
    page = make_viewer(scans, "".join(HOSTILE))
    page.encode("utf-8")
    found = Elements(page)
    assert found.tags == plain.tags
    (content,) = [json.loads(text) for kind, type_, text in found.texts if type_ == "application/json"]
    assert [scan["name"] for scan in content["scans"]] == list(HOSTILE)
    assert [scan["facts"][0] for scan in content["scans"]] == [[text, text] for text in HOSTILE]
    assert content["title"] == "".join(HOSTILE)
    assert not set("<>&\u2028") & set(viewer.to_inert_json(HOSTILE))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": np.zeros((0, 3))}, r"points are \[0, 3\]"),
        ({"points": np.zeros((4, 2))}, r"points are \[4, 2\]"),
        ({"points": np.full((500, 3), np.nan)}, "not finite"),
        ({"scores": {}}, "no score"),
        ({"scores": {"x": np.zeros(3)}}, r"x is \[3\], expected \[500\]"),
        ({"scores": {"x": np.full(500, np.nan)}}, "'x' is infinite somewhere, or nowhere a number"),
        ({"scores": {"x": np.full(500, np.inf)}}, "'x' is infinite"),
        ({"colours": np.zeros((500, 4), np.uint8)}, r"colours is \[500, 4\]"),
        ({"truth": np.zeros(4, bool)}, r"truth is \[4\]"),
    ],
)
def test_arrays_that_do_not_fit_are_named(changes, message):
    with pytest.raises(InputError, match=rf"scan 'part.ply': .*{message}"):
        make_viewer([shown(**changes)], "Parts")


def test_scans_share_a_range_that_outliers_do_not_stretch():
    low, high = np.linspace(0, 1, 5000, dtype=np.float32), np.linspace(2, 3, 5000, dtype=np.float32)
    high[0] = 1000
    scans = [shown(n=5000, scores={"score": score}) for score in (low, high)]
    page = Elements(make_viewer(scans, "Parts"))
    (content,) = [json.loads(text) for _, type_, text in page.texts if type_ == "application/json"]
    assert content["ranges"]["score"] == pytest.approx([0.01, 3], abs=0.01)
    page = Elements(make_viewer([replace(scans[0], threshold=7.0)], "Parts"))
    (content,) = [json.loads(text) for _, type_, text in page.texts if type_ == "application/json"]
    assert content["ranges"]["score"] == pytest.approx([0.01, 7])


def test_200000_points_with_all_scores_take_8_megabytes():
    """Of noise, which deflate cannot pack; and of a scan ten times as large, of which as many are shown."""
    rng = np.random.default_rng(0)
    for n in (200_000, 2_000_000):
        scores = {name: rng.random(n, dtype=np.float32) for name in ("score", "implicit", "explicit", "rgb")}
        views = [View(str(k), rng.integers(0, 256, (336, 336, 3), dtype=np.uint8)) for k in range(9)]
        points = rng.random((n, 3), dtype=np.float32)
        colours = rng.integers(0, 256, (n, 3), dtype=np.uint8)
        page = make_viewer([Shown("noise", points, scores, colours, scores["rgb"] > 0.5, views=views)], "Noise")
        assert len(page.encode()) < 8e6


def test_starts_without_torch_pandas_and_matplotlib():
    code = (
        "import sys, pointad_core.evaluation.viewer as _; print({'torch', 'pandas', 'matplotlib'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
