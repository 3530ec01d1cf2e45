"""The report of a run of the miniature, opened in a browser: every item is shown, and nothing is asked for outside."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from browser import MISSING, Browser
from miniature import CONFIG, Miniature, snakemake
from selenium.webdriver.common.by import By

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} not installed")

CATEGORIES = {"Tables", "Summaries", "Training", "Run times", "Figures"}
FIGURES = {
    "shown": {"caption": "Two methods.", "methods": ["pointad", "pointad_plus"], "scans": [{"dataset": "mvtec3d"}]}
}


@pytest.fixture(scope="module")
def report(miniature: Miniature, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands in the report's zip file, after a run of the default target."""
    where = {"snakefile": miniature.snakefile, "directory": miniature.directory}
    path = miniature.directory / "report.yaml"
    path.write_text(yaml.safe_dump(CONFIG | {"figures": FIGURES}))
    config = ["--configfile", path]
    result = snakemake(*config, **where)
    assert result.code == 0, result.text
    # The default target makes what the report shows of it; then nothing is to be done.
    assert result.jobs == {"report_tables": 1, "report_curves": 1, "report_runtimes": 1, "all": 1}
    assert not snakemake("-n", *config, **where).jobs
    assert snakemake("all_figures", *config, **where).code == 0
    target = tmp_path_factory.mktemp("report") / "report.zip"
    result = snakemake("all_report", "all_figures", *config, "--report", target, **where)
    assert result.code == 0, result.text
    assert "WARNING/" not in result.text  # of captions that are no proper rst
    with zipfile.ZipFile(target) as archive:
        archive.extractall(target.parent)
    return target.parent / "report/report.html"


@pytest.fixture(scope="module")
def browser(report: Path) -> Iterator[Browser]:
    found = Browser()
    found.driver.get(report.as_uri())
    yield found
    found.close()


@pytest.fixture(scope="module")
def results(browser: Browser) -> dict[str, dict[str, Any]]:
    found = browser.run("return JSON.stringify(results)")
    return dict(json.loads(str(found)))


def test_every_item_has_category_labels_and_caption(browser: Browser, results: dict[str, dict[str, Any]]) -> None:
    categories = json.loads(str(browser.run("return JSON.stringify(categories)")))
    assert set(categories) == CATEGORIES
    stated = [path for kinds in categories.values() for paths in kinds.values() for path in paths]
    assert sorted(stated) == sorted(results)
    for path, result in results.items():
        assert result["labels"], path
        assert len(result["caption"]) > 40, path
        # The miniature's data sets are generated, and each caption of numbers on them says so.
        if path.startswith(
            ("results/report/tables", "results/report/summary", "results/report/curves", "results/figures")
        ):
            assert "Generated data" in result["caption"], path
    assert "Two methods." in results["results/figures/shown.png"]["caption"]
    pages = {path for path in results if path.startswith("results/report/")}
    assert pages == {
        *(f"results/report/tables/table{number}.html" for number in (1, 2, 3, 4)),
        *(f"results/report/summary/{name}.html" for name in ("mvtec3d", "mvtec3d/carrot", "real3d")),
        "results/report/curves/mvtec3d.png",
        "results/report/runtimes.html",
    }


def test_the_first_page_says_what_was_run(browser: Browser) -> None:
    text = str(browser.run("return document.body.innerText"))
    assert "generated, 4 scans a category from seed 1" in text
    assert "Prompts learn on: carrot" in text
    assert "System Message" not in text


def open_item(browser: Browser, result: dict[str, Any]) -> None:
    browser.run("app.setView({content: arguments[0], contentPath: arguments[1]})", kind_of(result), result["data_uri"])


def kind_of(result: dict[str, Any]) -> str:
    return "img" if result["mime_type"] == "image/png" else "html"


def test_every_page_and_picture_is_shown(browser: Browser, report: Path, results: dict[str, dict[str, Any]]) -> None:
    driver = browser.driver
    for path, result in results.items():
        if not path.endswith((".html", ".png")):
            continue
        open_item(browser, result)
        shown = driver.find_element(By.CSS_SELECTOR, "img[src^='data/']" if path.endswith(".png") else "iframe")
        if path.endswith(".png"):
            done = "const [image, done] = arguments; image.decode().then(() => done(image.naturalWidth))"
            assert browser.driver.execute_async_script(done, shown) > 500
            continue
        driver.switch_to.frame(shown)
        rows = driver.find_elements(By.CSS_SELECTOR, "tbody tr")
        assert rows or path.endswith("table4.html"), path
        text = str(browser.run("return document.body.innerText"))
        title = driver.find_element(By.TAG_NAME, "h1").text
        driver.switch_to.default_content()
        assert f"<h1>{title}</h1>" in (report.parent / result["data_uri"]).read_text(), path
        if path.endswith("summary/mvtec3d.html"):
            assert "pointad_plus_coop" in text
        if path.endswith("runtimes.html"):
            assert {"clouds", "renders", "features", "prompts", "scores", "metrics"} <= set(text.split())
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    # Since the report was opened.
    assert {url for url in asked if not url.startswith("data:")} <= {
        report.as_uri(),
        *((report.parent / result["data_uri"]).as_uri() for result in results.values()),
    }


def test_a_reader_finds_a_table_by_clicking(browser: Browser, report: Path) -> None:
    driver = browser.driver
    driver.get(report.as_uri())
    for text in ("Tables", "Table 1: one-vs-rest, 3-D"):
        place = driver.find_element(By.XPATH, f"//*[normalize-space(text())='{text}']")
        row = place.find_elements(By.XPATH, "./ancestor-or-self::tr//a")
        (row[0] if row else place).click()
    frame = driver.find_element(By.TAG_NAME, "iframe")
    driver.switch_to.frame(frame)
    assert driver.find_element(By.TAG_NAME, "h1").text == "Table 1: one-vs-rest, 3-D"
    cells = {cell.text for cell in driver.find_elements(By.CSS_SELECTOR, "tbody td")}
    assert {"pointad_plus", "clip_rendering"} <= cells
    driver.switch_to.default_content()
