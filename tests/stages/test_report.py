"""Pages and pictures of the report: what stands in them, read back."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pointad_core.errors import InputError
from pointad_core.evaluation.metrics import METRICS
from pointad_core.stages.report import make_curves, make_pages, make_runtimes


def read_page(path: Path) -> tuple[str, str, list[list[str]], list[list[bool]]]:
    """Title, the note above the table, its cells with its head first, and which cells hold something bold."""
    text = path.read_text(encoding="utf-8")
    # As XML, which has no elements that need no end.
    head, _, body = text.partition("<style>")
    assert '<meta charset="utf-8">' in head
    assert "http" not in text
    root = ElementTree.fromstring(f"<html>{body.partition('</style>')[2]}")  # noqa: S314
    rows = [list(row) for row in root.iter("tr")]
    cells = [["".join(cell.itertext()) for cell in row] for row in rows]
    bold = [[cell.find("b") is not None for cell in row] for row in rows]
    notes = " ".join("".join(note.itertext()) for note in root.iter("p"))
    return "".join(root.find("h1").itertext()), notes, cells, bold


@pytest.fixture
def results(tmp_path):
    """A table of results as the tables stage writes it, and the page that is made of it."""
    rng = np.random.default_rng()
    names = [("set", "first"), ("set", "second"), ("<other> & set", "first"), ("<other> & set", "second")]
    table = pd.DataFrame([[1, "3d", *name] for name in names], columns=["table", "modality", "dataset", "method"])
    for metric in METRICS:
        table[metric] = rng.random(4).round(4)
    table["published_i_auroc"] = [0.7512, np.nan, np.nan, np.nan]
    table["published_p_auroc_paper"] = [np.nan, 0.625, np.nan, np.nan]
    table["i_auroc_low"], table["i_auroc_high"] = table["i_auroc"] - 0.01, table["i_auroc"] + 0.02
    table.loc[3, "aupro_paper"] = np.nan
    path = tmp_path / "table.csv"
    table.to_csv(path, index=False)
    page = tmp_path / "page/table.html"
    make_pages({str(path): "A <title> & more"}, [page])
    return table, page


def test_a_page_shows_a_table_in_percent(results) -> None:
    table, page = results
    title, notes, (head, *rows), bold = read_page(page)
    assert title == "A <title> & more"
    assert notes == "table: 1, modality: 3d"
    assert head == ["dataset", "method", *METRICS]
    assert [row[:2] for row in rows] == table[["dataset", "method"]].to_numpy().tolist()
    for index, row in table.iterrows():
        low, high = (f"{100 * row[f'i_auroc_{end}']:.1f}" for end in ("low", "high"))
        paper = " (paper 75.1)" if index == 0 else ""
        assert rows[index][2] == f"{100 * row['i_auroc']:.1f} [{low}, {high}]{paper}"
    assert rows[1][head.index("p_auroc_paper")] == f"{100 * table.loc[1, 'p_auroc_paper']:.1f} (paper 62.5)"
    assert rows[3][head.index("aupro_paper")] == "-"
    for column, metric in enumerate(METRICS, start=2):
        for pair in ((0, 1), (2, 3)):
            values = [table.loc[index, metric] for index in pair]
            # One number alone is not the best of anything.
            expected = [value == max(values) and not np.isnan(values).any() for value in values]
            assert [bold[index + 1][column] for index in pair] == expected


def test_batch_zero_shot_is_told_and_never_bold(results, tmp_path: Path) -> None:
    _, page = results
    make_pages({str(tmp_path / "table.csv"): "Title"}, [page], ["second", "third"])
    _, notes, (head, *_), bold = read_page(page)
    assert "Batch zero-shot: second. They score a scan by the other test scans" in notes
    assert "third" not in notes
    assert len(head) == len(bold[1])
    # Nobody is left for the first to be better than.
    assert not any(cell for row in bold for cell in row)


def test_a_page_is_the_same_for_the_same_table(results, tmp_path: Path) -> None:
    _, page = results
    make_pages({str(tmp_path / "table.csv"): "A <title> & more"}, [tmp_path / "again.html"])
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("")
    with pytest.raises(InputError, match=r"table\.csv: not a readable table"):
        make_pages({str(path): "title"}, [tmp_path / "page.html"])
    assert not (tmp_path / "page.html").exists()


def test_curves_are_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng()
    curves: dict[str, dict[str, str]] = {}
    for method in ("first", "second", "third", "fourth"):
        for name in ("carrot", "cookie"):
            path = tmp_path / f"{method}_{name}.csv"
            rows = {"epoch": [1, 1, 2, 2], "step": [1, 2, 3, 4], "local": rng.random(4), "total": rng.random(4)}
            pd.DataFrame(rows).to_csv(path, index=False)
            curves.setdefault(method, {})[name] = str(path)
    make_curves(curves, tmp_path / "curves.png", "Losses")
    make_curves(curves, tmp_path / "again.png", "Losses")
    assert (tmp_path / "curves.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    with Image.open(tmp_path / "curves.png") as image:
        wide, high = image.size
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert wide > high > 500
    # Both colours of the lines are there, and a panel more than three makes a second row.
    for colour in ((0x1F, 0x77, 0xB4), (0xFF, 0x7F, 0x0E)):
        rows = np.flatnonzero((np.abs(pixels - colour).sum(axis=2) < 12).any(axis=1))
        assert rows.min() < high / 2 < rows.max()


def test_run_times_are_told_by_stage(tmp_path: Path) -> None:
    head = "s\th:m:s\tmax_rss\tmax_vms\tmean_load\n"
    seconds = {
        "scores/pointad/a.tsv": (3.0, "200.5"),
        "clouds/set/bagel.tsv": (1.5, "100"),
        "clouds/set/carrot.tsv": (9.25, "-"),
        "clouds/set/cookie.tsv": (2.5, "120.25"),
        "own/x.tsv": (0.1, "-"),
    }
    for name, (took, memory) in seconds.items():
        path = tmp_path / "benchmarks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{head}{took}\t0:00:00\t{memory}\t1\t1\n")
    make_runtimes(tmp_path / "benchmarks", ["clouds", "scores"], tmp_path / "page.html")
    _, _, (head_row, *rows), _ = read_page(tmp_path / "page.html")
    assert head_row == ["stage", "longest job", "jobs", "all, s", "median, s", "longest, s", "most memory, MB"]
    assert rows == [
        ["clouds", "set/carrot", "3", "13", "2.5", "9.2", "120"],
        ["scores", "pointad/a", "1", "3", "3.0", "3.0", "200"],
        ["own", "x", "1", "0", "0.1", "0.1", "-"],
    ]


def test_no_benchmark_at_all_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no benchmark"):
        make_runtimes(tmp_path, [], tmp_path / "page.html")
