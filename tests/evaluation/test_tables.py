"""Tables 1-4: their cells against averages by hand, their captions, and the document in pdflatex."""

import copy
import re
import shutil
from math import isnan, nan

import numpy as np
import pandas as pd
import pytest
from latex import compile_tex

from pointad_core.errors import InputError
from pointad_core.evaluation.averages import RUN
from pointad_core.evaluation.bootstrap import REPLICATES
from pointad_core.evaluation.captions import describe_backbone
from pointad_core.evaluation.latex import document, escape
from pointad_core.evaluation.metrics import METRICS
from pointad_core.evaluation.tables import PUBLISHED, TABLES, make_groups, paper_numbers, table_rows, table_tex

CATEGORIES = {"solid": ["a", "b", "c"], "sweets": ["d", "e"], "scans": ["f", "g"]}
AUXILIARY = {"solid": ["a", "b"], "sweets": ["d"], "scans": ["f"]}
LEVEL = {"clip": 0.50, "pointad": 0.60, "plus": 0.80}
BUMP = {name: 0.01 * i for i, name in enumerate(METRICS)}
SEEDS = [111, 7]
PAIRS = {
    "one_vs_rest": [("solid", "solid"), ("sweets", "sweets"), ("scans", "scans")],
    "cross_dataset": [("solid", "sweets"), ("solid", "scans")],
}
OPTIONS = {
    "datasets": {
        "solid": {
            "label": "MVTec3D-AD",
            "generated": {"scans": 10, "seed": 3},
            "auxiliary": ["a", "b"],
            "n_categories": 3,
        },
        "sweets": {"label": "Eyecandies", "published": "eyecandies", "auxiliary": ["d"], "n_categories": 2},
        "scans": {"label": "My_scans & 50%", "auxiliary": ["f"], "n_categories": 2},
    },
    "methods": {
        "clip": {"trained": False, "features": "small", "label": "CLIP + Rendering", "published": "CLIP + R."},
        "pointad": {"trained": True, "features": "small", "label": "PointAD", "published": "PointAD"},
        "plus": {"trained": True, "features": "large", "label": "PointAD+", "published": None},
    },
    "features": {
        "small": {"model": "pocket", "random_seed": 111},
        "large": {"model": "ViT-L-14-336", "pretrained": "openai"},
    },
    "seeds": SEEDS,
    "intervals": False,
    "further_metrics": [],
}


def value(method, dataset, category, metric):
    """The metric that the fixture writes: some number that depends on all of these."""
    return LEVEL[method] + BUMP[metric] + 0.001 * "abcdefg".index(category) - 0.02 * list(CATEGORIES).index(dataset)


@pytest.fixture(scope="module")
def metrics():
    """Metrics of all runs; the data set "scans" has neither RGB nor regions."""
    rows = []

    def add(method, source, auxiliary, seed, dataset):
        for category in CATEGORIES[dataset]:
            if source == dataset and category == auxiliary:
                continue
            for modality in ["3d"] if dataset == "scans" else ["3d", "m3d"]:
                cells = [
                    nan if dataset == "scans" and "aupro" in metric else value(method, dataset, category, metric)
                    for metric in METRICS
                ]
                rows.append([method, source, auxiliary, str(seed), dataset, category, modality, *cells])

    for dataset in CATEGORIES:
        add("clip", "none", "none", 0, dataset)
        for method in ("pointad", "plus"):
            for seed in SEEDS:
                for auxiliary in AUXILIARY[dataset]:
                    add(method, dataset, auxiliary, seed, dataset)
                if dataset != "solid":
                    for auxiliary in AUXILIARY["solid"]:
                        add(method, "solid", auxiliary, seed, dataset)
    return pd.DataFrame(rows, columns=[*RUN, "category", "modality", *METRICS])


def options(**changes):
    """A copy of OPTIONS; keys are paths with "__" between the steps."""
    changed = copy.deepcopy(OPTIONS)
    for key, entry in changes.items():
        *steps, last = key.split("__")
        section = changed
        for step in steps:
            section = section[step]
        if entry is None:
            section.pop(last, None)
        else:
            section[last] = entry
    return changed


def for_table(number, settings=OPTIONS, pairs=None):
    """The options of one table: its pairs, and of the methods the trained ones where it is cross-dataset."""
    setting = TABLES[number][1]
    chosen = []
    for source, dataset in PAIRS[setting] if pairs is None else pairs:
        tested = {
            name: [c for c in CATEGORIES[dataset] if source != dataset or c != name] for name in AUXILIARY[source]
        }
        chosen.append({"source": source, "dataset": dataset, "tested": tested})
    methods = {
        name: method for name, method in settings["methods"].items() if setting == "one_vs_rest" or method["trained"]
    }
    return {**settings, "pairs": chosen, "methods": methods}


def replicates_of(metrics):
    """Replicates of these metrics that lie about them evenly, 0.01 to both sides."""
    spread = np.linspace(-0.01, 0.01, REPLICATES)
    return {tuple(row[:7]): np.array(row[7:])[:, None] + spread for row in metrics.itertuples(index=False, name=None)}


def make(number, metrics, settings=OPTIONS, pairs=None):
    """The table's LaTeX and its rows."""
    chosen = for_table(number, settings, pairs)
    groups = make_groups(number, metrics, replicates_of(metrics), chosen)
    return table_tex(number, groups, chosen), table_rows(number, groups).to_dict("records")


def read_tabulars(tex):
    """For each tabular: header lines as lists of cells (spans repeated), and body lines by method."""
    tabulars = []
    for text in re.findall(r"\\begin{tabular}.*?\\end{tabular}", tex, flags=re.S):
        head, body = text.split(r"\midrule")
        headers = []
        for line in head.split("\n"):
            if line.endswith(r"\\"):
                cells = []
                for cell in line.removesuffix(r" \\").split(" & "):
                    span = re.fullmatch(r"\s*\\multicolumn{(\d+)}{c}{(.*)}", cell)
                    cells += [span[2]] * int(span[1]) if span else [cell.strip()]
                headers.append(cells)
        rows = [line.removesuffix(r" \\").split(" & ") for line in body.strip().split("\n") if line.endswith(r"\\")]
        tabulars.append((headers, {row[0]: row[1:] for row in rows}))
    return tabulars


def plain(cell):
    return re.sub(r"\\(textbf|underline){([^}]*)}", r"\2", cell).split(" ")[0]


def test_table_1_has_the_papers_columns(metrics):
    tex, _ = make(1, metrics)
    (headers, rows), (object_headers, object_rows) = read_tabulars(tex)
    assert headers[0][1:] == ["Local, the paper's protocol"] * 5 + ["Global"] * 6
    labels = ["MVTec3D-AD"] * 2 + ["Eyecandies"] * 2 + [r"My\_scans \& 50\%"]
    assert headers[1][1:6] == labels
    local = ["P-AUROC", "stretched AUPRO"]
    assert headers[3] == ["Method", *local, *local, "P-AUROC"] + ["I-AUROC", "AP"] * 3
    assert list(rows) == ["CLIP + Rendering", "PointAD", "PointAD+"]
    assert object_headers[0][1:] == ["Local, the paper's protocol"] * 2 + ["Local, object points only"] * 5
    assert object_headers[3] == ["Method"] + ["AUPRO"] * 2 + ["P-AUROC", "AUPRO"] * 2 + ["P-AUROC"]
    assert list(object_rows) == list(rows)
    assert headers[2][1].endswith("generated, 3 categories")
    assert headers[2][3].endswith("published, 2 categories")
    assert headers[2][5].endswith("own data, 2 categories")


def test_table_1_cells_are_macro_means_of_unseen_categories(metrics):
    tex, rows = make(1, metrics)
    (_, cells), (_, object_cells) = read_tabulars(tex)

    def expected(method, dataset, metric):
        splits = []
        for auxiliary in AUXILIARY[dataset]:
            unseen = [value(method, dataset, name, metric) for name in CATEGORIES[dataset] if name != auxiliary]
            splits.append(sum(unseen) / len(unseen))
        return sum(splits) / len(splits)

    local = [("solid", "p_auroc"), ("solid", "aupro"), ("sweets", "p_auroc"), ("sweets", "aupro"), ("scans", "p_auroc")]
    global_ = [(dataset, metric) for dataset in CATEGORIES for metric in ("i_auroc", "ap")]
    for method, label in (("clip", "CLIP + Rendering"), ("pointad", "PointAD"), ("plus", "PointAD+")):
        wanted = [expected(method, dataset, PUBLISHED[metric]) for dataset, metric in local]
        wanted += [expected(method, dataset, metric) for dataset, metric in global_]
        assert [float(plain(cell)) for cell in cells[label]] == pytest.approx([100 * v for v in wanted], abs=0.051)
        wanted = [expected(method, dataset, "aupro_paper") for dataset in ("solid", "sweets")]
        wanted += [expected(method, dataset, f"{metric}_object") for dataset, metric in local]
        assert [float(plain(cell)) for cell in object_cells[label]] == pytest.approx(
            [100 * v for v in wanted], abs=0.051
        )
        for row in rows:
            if row["method"] == method:
                for metric in METRICS:
                    if row["dataset"] == "scans" and "aupro" in metric:
                        assert isnan(row[metric])
                    else:
                        assert row[metric] == pytest.approx(expected(method, row["dataset"], metric))
    assert [(row["dataset"], row["data"]) for row in rows[::3]] == [
        ("solid", "generated"),
        ("sweets", "published"),
        ("scans", "own data"),
    ]


def test_best_is_bold_and_second_underlined(metrics):
    tex, _ = make(1, metrics)
    for _, rows in read_tabulars(tex):
        assert all(cell.startswith(r"\textbf{") for cell in rows["PointAD+"])
        assert all(cell.startswith(r"\underline{") for cell in rows["PointAD"])
        assert not any("textbf" in cell or "underline" in cell for cell in rows["CLIP + Rendering"])


@pytest.mark.parametrize(("batch", "second"), [("plus", "CLIP + Rendering"), ("clip", None)])
def test_batch_zero_shot_is_told_and_never_ranked(metrics, batch, second):
    number = 1 if batch == "clip" else 2
    tex, _ = make(number, metrics, options(**{f"methods__{batch}__batch": True}))
    label = OPTIONS["methods"][batch]["label"]
    for _, rows in read_tabulars(tex):
        assert not any("textbf" in cell or "underline" in cell for cell in rows[label])
        # The others are ranked as if it were not there.
        best, *_ = (name for name in ("PointAD+", "PointAD") if name != label)
        assert all(cell.startswith(r"\textbf{") for cell in rows[best])
        assert all(cell.startswith(r"\underline{") for cell in rows[second or "PointAD"])
    assert f"Batch zero-shot: {label}. They score a scan by the other test scans of its category" in caption(tex)
    assert "atch zero-shot" not in caption(make(number, metrics)[0])


def test_the_papers_numbers_stand_beside_published_data_alone(metrics):
    tex, rows = make(1, metrics)
    (_, cells), (_, object_cells) = read_tabulars(tex)
    grey = {
        label: [m[1] if (m := re.search(r"gray}{\((.*?)\)}", cell)) else None for cell in row]
        for label, row in cells.items()
    }
    # Columns: solid 2, sweets 2, scans 1 | solid 2, sweets 2, scans 2. AP on Eyecandies is lost in print.
    nothing = [None, None]
    assert grey["CLIP + Rendering"] == [*nothing, "81.2", "37.9", None, *nothing, "66.7", None, *nothing]
    assert grey["PointAD"] == [*nothing, "92.1", "71.3", None, *nothing, *nothing, *nothing]
    assert grey["PointAD+"] == [None] * 11, "the method names no row of the paper"
    assert not any("gray" in cell for row in object_cells.values() for cell in row)
    (row,) = [row for row in rows if (row["dataset"], row["method"]) == ("sweets", "pointad")]
    published = [row[f"published_{name}"] for name in ("i_auroc", "ap", "p_auroc", "aupro")]
    assert [None if pd.isna(number) else number for number in published] == [None, None, 0.921, 0.713]
    assert "Grey in parentheses" in tex
    assert "of AUPRO it stands beside the stretched one" in tex


def test_further_metrics_stand_under_their_heads(metrics):
    tex, _ = make(1, metrics, options(further_metrics=["f1_max", "p_ap_object", "p_ap_paper", "aupro_linked"]))
    *_, (headers, rows) = read_tabulars(tex)
    heads = {"Local, the paper's protocol": 3, "Local, object points only": 3, "Global": 3}
    # The fixture has regions of no point cloud, and linked ones of the others.
    heads["Local, the paper's protocol"] += 2
    assert headers[0][1:] == [head for head, width in heads.items() for _ in range(width)]
    assert headers[3][1:] == ["P-AP", "linked AUPRO"] * 2 + ["P-AP"] * 4 + ["F1-max"] * 3
    assert float(plain(rows["PointAD+"][-1])) == pytest.approx(100 * value("plus", "scans", "g", "f1_max"), abs=0.051)
    assert len(read_tabulars(make(1, metrics)[0])) == 2


def test_where_the_paper_has_a_dash_so_have_we(metrics):
    published = options(datasets__sweets__published="mvtec3d")
    tex, rows = make(1, metrics, published)
    ((_, cells), (_, object_cells)) = read_tabulars(tex)
    assert cells["CLIP + Rendering"][2] == "-"
    assert object_cells["CLIP + Rendering"][2] != "-"
    (row,) = [row for row in rows if (row["dataset"], row["method"]) == ("sweets", "clip")]
    assert not isnan(row["p_auroc_paper"])
    assert cells["CLIP + Rendering"][3].endswith("(54.4)}}")


def test_generated_data_never_meet_the_papers_numbers(metrics):
    settings = options(datasets__solid__published="mvtec3d", datasets__sweets__published=None)
    for number in TABLES:
        tex, rows = make(number, metrics, settings)
        assert "gray" not in tex
        assert not any(pd.notna(row["published_p_auroc"]) for row in rows)


def test_cross_dataset_numbers_of_the_paper_need_its_source(metrics):
    tex, _ = make(3, metrics)
    assert "gray" not in tex, "prompts from generated data are not the paper's"
    settings = options(datasets__solid__generated=None, datasets__solid__published="mvtec3d")
    tex, rows = make(3, metrics, settings)
    ((_, cells), _) = read_tabulars(tex)
    assert "(91.8)" in cells["PointAD"][0]
    assert "(71.4)" in cells["PointAD"][1]
    assert rows[0]["published_i_auroc"] == 0.695


def test_table_2_leaves_out_data_without_rgb(metrics):
    tex, rows = make(2, metrics)
    (headers, _), _ = read_tabulars(tex)
    assert headers[1][1:] == ["MVTec3D-AD"] * 2 + ["Eyecandies"] * 2 + ["MVTec3D-AD"] * 2 + ["Eyecandies"] * 2
    assert {row["dataset"] for row in rows} == {"solid", "sweets"}
    assert {row["modality"] for row in rows} == {"m3d"}
    assert "My" not in tex


def test_tables_3_and_4_compare_trained_methods_on_all_categories(metrics):
    tex, rows = make(3, metrics)
    (headers, cells), _ = read_tabulars(tex)
    assert list(cells) == ["PointAD", "PointAD+"]
    assert headers[3] == ["Method", "P-AUROC", "stretched AUPRO", "P-AUROC", "I-AUROC", "AP", "I-AUROC", "AP"]
    wanted = sum(value("plus", "sweets", name, "i_auroc") for name in "de") / 2
    (row,) = [row for row in rows if (row["dataset"], row["method"]) == ("sweets", "plus")]
    assert row["i_auroc"] == pytest.approx(wanted)
    assert row["source"] == "solid"
    _, rows = make(4, metrics)
    assert [row["dataset"] for row in rows] == ["sweets", "sweets"]


def test_two_sources_are_told_apart(metrics):
    tex, _ = make(3, metrics, pairs=[("solid", "sweets"), ("sweets", "sweets")])
    (headers, _), _ = read_tabulars(tex)
    assert headers[1][1].startswith(r"MVTec3D-AD \ensuremath{\rightarrow} Eyecandies")


def caption(tex):
    return re.search(r"\\caption{(.*)}\n", tex)[1]


def test_caption_says_what_made_the_table(metrics):
    text = caption(make(1, metrics)[0])
    for phrase in (
        "one-vs-rest",
        "MVTec3D-AD: generated (10 scans a category, seed 3), not the published data",
        "Eyecandies: the published data",
        r"My\_scans \& 50\%: the user's own data",
        "CLIP + Rendering, PointAD: pocket (random weights drawn from seed 111, never trained)",
        "PointAD+: ViT-L-14-336 (pretrained weights openai)",
        "MVTec3D-AD: a, b; Eyecandies: d",
        r"\textbf{Seeds.} 111, 7.",
        r"\textbf{No results on the published data sets: MVTec3D-AD (generated scans); "
        "CLIP + Rendering, PointAD (untrained weights).}",
    ):
        assert phrase in text
    text = caption(make(3, metrics)[0])
    assert "cross-dataset" in text
    assert r"\textbf{Auxiliary classes.} MVTec3D-AD: a, b." in text
    assert r"sets: Eyecandies, My\_scans \& 50\% (prompts learnt on generated scans); PointAD (untrained" in text


def test_caption_of_real_data_and_weights_warns_of_nothing(metrics):
    settings = options(
        datasets__solid__generated=None,
        datasets__solid__published="mvtec3d",
        features__small={"model": "ViT-L-14", "checkpoint": "/home/me/my_weights.pt"},
        seeds=[5],
    )
    text = caption(make(1, metrics, settings)[0])
    assert "No results" not in text
    assert r"ViT-L-14 (weights from checkpoint my\_weights.pt)" in text
    assert r"\textbf{Seed.} 5." in text


def test_unknown_row_of_the_paper_is_refused(metrics):
    with pytest.raises(InputError, match=r"methods\.plus\.published is 'PointAD\+\+', the paper has .*'PointAD\+'"):
        make(1, metrics, options(methods__plus__published="PointAD++"))


def test_a_table_without_content_says_why(metrics):
    for settings, pairs, number, reason in (
        (OPTIONS, [], 3, "asks for no cross-dataset experiment"),
        (OPTIONS, [("scans", "scans")], 2, "No data set of this setting has what M3D needs"),
        (options(methods__plus=None, methods__pointad=None), None, 4, "no method that is trained"),
    ):
        tex, rows = make(number, metrics, settings, pairs)
        assert reason in tex
        assert rows == []


def test_order_of_the_rows_changes_nothing(metrics):
    for number in TABLES:
        tex, rows = make(number, metrics)
        backwards, same = make(number, metrics[::-1])
        assert backwards == tex
        assert pd.DataFrame(same).equals(pd.DataFrame(rows))


def without_labels(metrics, dataset, *categories):
    changed = metrics.copy()
    gone = (changed["dataset"] == dataset) & changed["category"].isin(categories or CATEGORIES[dataset])
    changed.loc[gone, list(METRICS)] = nan
    return changed


def test_categories_without_labels_are_counted_where_the_means_leave_them_out(metrics):
    category = next(name for name in CATEGORIES["solid"] if name not in AUXILIARY["solid"])
    tex, _ = make(1, without_labels(metrics, "solid", category))
    assert tex.count("categories, 1 without labels}") > 0
    assert "without labels" not in make(1, metrics)[0]
    tex, _ = make(2, without_labels(metrics, "solid", category))
    assert "categories, 1 without photographs or labels}" in tex


def test_data_without_labels_is_named_in_the_caption(metrics):
    tex, rows = make(1, without_labels(metrics, "scans"))
    assert {row["dataset"] for row in rows} == set(CATEGORIES) - {"scans"}
    label = escape(OPTIONS["datasets"]["scans"]["label"])
    assert rf"\textbf{{Not shown, for lack of labels.}} {label}." in tex
    tex, rows = make(1, without_labels(metrics, "scans"), pairs=[("scans", "scans")])
    assert "No data set of this setting has scans with labels" in tex
    assert rows == []


def test_one_category_is_not_categories(metrics):
    (headers, _), _ = read_tabulars(make(1, metrics, options(datasets__sweets__n_categories=1))[0])
    assert headers[2][3].endswith("published, 1 category")


def test_paper_numbers_are_plausible():
    numbers = paper_numbers()
    assert numbers[1, "PointAD+", "mvtec3d", "p_auroc"] == 0.969
    assert numbers[1, "PointAD+", "real3d", "ap"] == 0.847
    assert numbers[2, "PointAD", "eyecandies", "aupro"] == 0.843
    assert numbers[3, "PointAD+", "real3d", "i_auroc"] == 0.743
    assert numbers[4, "PointAD", "eyecandies", "ap"] == 0.808
    assert numbers[1, "CLIP + R.", "mvtec3d", "p_auroc"] is None
    assert (1, "PointAD", "eyecandies", "i_auroc") not in numbers, "lost in print"
    assert not any(dataset == "real3d" and metric == "aupro" for _, _, dataset, metric in numbers)
    assert not any(dataset == "real3d" for table, _, dataset, _ in numbers if table in (2, 4)), "no RGB there"
    for (table, method, dataset, metric), number in numbers.items():
        assert table in (*TABLES, 5)
        assert metric in ("p_auroc", "aupro", "i_auroc", "ap")
        assert number is None or 0.2 < number < 1, (table, method, dataset)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex (texlive-latex-recommended)")
@pytest.mark.parametrize("intervals", [False, True])
def test_the_document_compiles_without_overfull_lines(metrics, tmp_path, intervals):
    hostile = r"50% & #1 $x_y^z~ \end{document} {ä, µ, 物} --- <|>"
    settings = options(datasets__solid__label=hostile, methods__plus__label=hostile, intervals=intervals)
    bodies = [
        make(number, metrics, settings, [("solid", "solid"), ("scans", "scans")] if number < 3 else None)[0]
        for number in TABLES
    ]
    assert "Overfull" not in compile_tex(document(bodies), tmp_path)
    assert (tmp_path / "tables.pdf").stat().st_size > 0


def test_the_document_holds_every_table_and_stands_alone(metrics):
    text = document(make(number, metrics)[0] for number in TABLES)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 4
    assert text.count("Object points only") == 4
    assert r"\input" not in text


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"pointnet": None},
            "PointNet trained on the auxiliary class, the token embeddings of pocket (random weights drawn from seed "
            "111, never trained) as word vectors",
        ),
        (
            {"word_vectors": "/data/words.txt", "pointnet": None},
            "PointNet trained on the auxiliary class, word vectors of words.txt",
        ),
        (
            {"word_vectors": "words.txt", "pointnet": "/data/weights.safetensors"},
            "PointNet weights from weights.safetensors, word vectors of words.txt",
        ),
        ({"network": "/data/wide.pth"}, "photographs by wide.pth"),
        (
            {"network": None},
            "photographs by pocket (random weights drawn from seed 111, never trained), not by its published network",
        ),
        (
            {"network": None, "point_mae": None, "fusion": None},
            "Point-MAE with random weights, never trained, photographs by pocket (random weights drawn from seed 111, "
            "never trained), fusion learnt from each category, which is not M3DM's published network",
        ),
        (
            {"network": "dino.pth", "point_mae": "/data/pretrain.pth", "fusion": "uff.pth"},
            "Point-MAE with weights from pretrain.pth, photographs by dino.pth, fusion with weights from uff.pth",
        ),
    ],
)
def test_a_network_names_its_weights_and_word_vectors(files, said):
    method = {"features": "small", **files}
    assert describe_backbone(method, OPTIONS["features"]) == said
