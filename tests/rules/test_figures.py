"""Figures by real Snakemake on the miniature: made of what is there, and only what a change concerns is drawn again."""

import copy
from typing import Any

import pytest
import yaml
from miniature import CONFIG, Miniature, snakemake
from PIL import Image

FIGURES: dict[str, Any] = {
    "both": {"methods": ["pointad", "pointad_plus"], "maps": ["3d", "m3d"], "scans": [{"dataset": "mvtec3d"}]},
    "layers": {
        "methods": ["pointad_plus"],
        "maps": ["explicit", "implicit"],
        "scans": [
            {"dataset": "mvtec3d", "label": "explicit better", "better": "explicit", "than": "implicit", "count": 2},
            {"dataset": "mvtec3d", "label": "implicit better", "better": "implicit", "than": "explicit", "count": 2},
        ],
    },
    "turned": {
        "columns": "views",
        "prompts": {"source": "mvtec3d", "auxiliary": "carrot"},
        "methods": ["pointad"],
        "scans": [{"dataset": "real3d"}],
    },
    "methods": {"columns": "methods", "colours": "map", "scans": [{"dataset": "mvtec3d", "pick": "first"}]},
}


def with_figures(**changes: Any) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG) | {"figures": copy.deepcopy(FIGURES)}
    for name, change in changes.items():
        config["figures"][name] |= change
    return config


@pytest.fixture(scope="module")
def drawn(miniature: Miniature) -> Miniature:
    path = miniature.directory / "figures.yaml"
    path.write_text(yaml.safe_dump(with_figures()))
    result = snakemake(
        "all_figures", "--configfile", path, snakefile=miniature.snakefile, directory=miniature.directory
    )
    assert result.code == 0, result.text
    # Scores and prompts are those of the tables.
    assert result.jobs == {"figures": 4, "figures_document": 1, "all_figures": 1}
    return Miniature(miniature.snakefile, miniature.directory, result)


def test_every_figure_is_there_in_every_form(drawn: Miniature) -> None:
    folder = drawn.directory / "results/figures"
    for name in FIGURES:
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.width == 2100
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert "Generated data" in (folder / f"{name}.txt").read_text()
        assert (folder / f"{name}.tex").read_text() in (folder / "figures.tex").read_text()
        assert len((folder / f"{name}.csv").read_text().splitlines()) > 1


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        ({}, {}),
        ({"both": {"colours": "figure"}}, {"figures": 1, "figures_document": 1}),
        ({"layers": {"caption": "Layers."}}, {"figures": 1, "figures_document": 1}),
        ({"turned": {"methods": ["pointad_coop"]}}, {"figures": 1, "figures_document": 1}),
    ],
)
def test_a_changed_key_draws_its_figure_alone(drawn: Miniature, change: dict[str, Any], jobs: dict[str, int]) -> None:
    assert drawn.plan(with_figures(**change), "all_figures") == jobs


def test_what_a_figure_does_not_show_does_not_draw_it(drawn: Miniature) -> None:
    config = with_figures()
    config["methods"]["cheraghian"]["smoothing_sigma"] = 2
    jobs = drawn.plan(config, "all_figures")
    assert (jobs["figures"], jobs["scores"]) == (1, 1), "the one that shows all methods, on mvtec3d"
