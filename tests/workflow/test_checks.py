"""Config: the schema, both config files and the manual say the same; mistakes are named."""

import copy
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config, validate

from pointad_core.datasets.registry import LAYOUTS
from pointad_core.errors import InputError
from pointad_core.evaluation.metrics import METRICS
from pointad_core.methods.interface import Settings
from pointad_core.methods.registry import SYSTEMS, System
from workflow import checks, plan
from workflow.checks import INTEGERS
from workflow.schema import fill_in, refuse_repeats
from workflow.variants import complete_variants, is_derived

REPOSITORY = Path(__file__).parents[2]
SCHEMA = yaml.safe_load((REPOSITORY / "workflow/schemas/config.schema.yaml").read_text())
MANUAL = (REPOSITORY / "config/README.md").read_text()


def complete(config: dict[str, Any]) -> dict[str, Any]:
    """A config with its defaults, checked."""
    config = copy.deepcopy(config)
    checks.complete(config)
    return config


def written(config: dict[str, Any]) -> dict[str, Any]:
    """The data sets that the config itself names, without train splits and what ablations make."""
    datasets = config["datasets"].items()
    return {name: dataset for name, dataset in datasets if not name.endswith(".train") and not is_derived(name)}


def default() -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())


def merged(config: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            merged(config[key], value)
        else:
            config[key] = value
    return config


def walk(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every key that a user can write with its schema; "*" stands for a name of the user's own."""
    if "$ref" in schema:
        yield from walk(SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]], path)
    for key, value in schema.get("properties", {}).items():
        # View sets, renderings and aggregations have names of ours among the user's.
        if path not in (("view_sets",), ("renderings",), ("aggregations",)):
            yield (*path, key), value
            yield from walk(value, (*path, key))
    for branch in ("then", "else"):
        if branch in schema:
            yield from walk(schema[branch], path)
    for part in schema.get("allOf", ()):
        yield from walk(part, path)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from walk(schema["additionalProperties"], (*path, "*"))
    if isinstance(schema.get("items"), dict):
        yield from walk(schema["items"], (*path, "*"))


# A branch that only adds a default says nothing else of its key.
KEYS = [(path, schema) for path, schema in walk(SCHEMA) if set(schema) - {"default", "properties"}]


def section_of_manual(name: str) -> str:
    return next(part for part in re.split(r"^## ", MANUAL, flags=re.MULTILINE) if part.startswith(name))


@pytest.mark.parametrize(("path", "schema"), KEYS, ids=[".".join(path) for path, _ in KEYS])
def test_every_key_is_described_here_and_in_the_manual(path: tuple[str, ...], schema: dict[str, Any]) -> None:
    assert {"description", "type"} <= set(schema)
    section = section_of_manual("Top level" if len(path) == 1 else f"`{path[0]}`")
    assert f"`{path[-1]}`" in section or f"`{path[-1]}: " in section, f"config/README.md does not describe {path}"


def test_further_metrics_are_those_that_no_table_shows_anyway() -> None:
    shown = ("i_auroc", "ap", "p_auroc_paper", "aupro_paper", "p_auroc_object", "aupro_object", "aupro_stretched")
    known = SCHEMA["properties"]["further_metrics"]["items"]["enum"]
    assert sorted(known) == sorted(set(METRICS) - set(shown))
    config = default() | {"further_metrics": ["p_ap"]}
    with pytest.raises(InputError, match=r"further_metrics.* is 'p_ap'"):
        complete(config)


SCALARS = [(path, schema["default"]) for path, schema in KEYS if isinstance(schema.get("default"), str | int | float)]


@pytest.mark.parametrize(("path", "value"), SCALARS, ids=[".".join(path) for path, _ in SCALARS])
def test_manual_names_the_default(path: tuple[str, ...], value: Any) -> None:
    section = section_of_manual("Top level" if len(path) == 1 else f"`{path[0]}`")
    rows = [line for line in section.splitlines() if line.startswith("|") and f"`{path[-1]}" in line]
    # A key of a section within the section stands in that one's row; one that means something else for other systems
    # in a row for each meaning.
    own = [line for line in rows if line.startswith(f"| `{path[-1]}`")] or rows[:1]
    if len(path) > 3:
        own = [line for line in rows if line.startswith(f"| `{path[2]}`")][:1]
    written = str(value).lower() if isinstance(value, bool) else str(value)
    named = re.compile(rf"(?<![\w.]){re.escape(written)}(?![\w])")
    assert any(named.search(row.rsplit(" | ", 1)[1]) for row in own)


def test_manual_describes_no_other_key() -> None:
    known = {part for path, _ in KEYS for part in path}
    # Named in the manual's tables as values, layouts or files.
    rows = re.findall(r"^\| `(\w+)` \|", MANUAL, flags=re.MULTILINE)
    assert set(rows) - {*LAYOUTS, *SYSTEMS} <= known


def test_unknown_keys_are_refused_everywhere() -> None:
    def objects(schema: Any) -> Iterator[dict[str, Any]]:
        if isinstance(schema, dict):
            if schema.get("type") in ("object", ["object", "null"]):
                yield schema
            for value in schema.values():
                yield from objects(value)

    for schema in objects(SCHEMA):
        assert "additionalProperties" in schema or schema.get("unevaluatedProperties") is False, schema


def test_type_stands_before_properties() -> None:
    """Snakemake puts defaults into whatever stands there, so a wrong type must be found first."""

    def check_order(schema: Any) -> None:
        if isinstance(schema, dict):
            if "type" in schema and "properties" in schema:
                assert list(schema).index("type") < list(schema).index("properties")
            for value in schema.values():
                check_order(value)

    check_order(SCHEMA)


def test_defaults_are_those_of_the_methods() -> None:
    # Of the paper's backbone; the small one has fewer blocks.
    methods = {"prompts": {"system": "pointad_plus_mutual", "features": "large"}, "network": {"system": "cheraghian"}}
    features = {"large": {"model": "ViT-L-14-336", "pretrained": "openai"}}
    config = complete(merged(default(), {"methods": methods, "features": features}))
    defaults = asdict(Settings())
    defaults |= {key: list(defaults[key]) for key in ("betas", "neighbourhoods")}
    found = {key: value for key, value in config["methods"]["prompts"].items() if key in defaults}
    assert found == {key: value for key, value in defaults.items() if key not in ("word_vectors", "pointnet")}
    found = {key: value for key, value in config["methods"]["network"].items() if key in defaults}
    assert found == {key: defaults[key] for key in found}
    assert {"word_vectors", "pointnet"} <= found.keys()


def test_branches_of_the_schema_are_those_of_the_systems() -> None:
    method = SCHEMA["$defs"]["method"]
    unsupervised = {name for name, system in SYSTEMS.items() if system.unsupervised}
    assert unsupervised == set(method["if"]["properties"]["system"]["enum"])
    other = method["else"]
    untrained = {name for name, system in SYSTEMS.items() if not system.trained}
    assert untrained - unsupervised == set(other["if"]["properties"]["system"]["enum"])
    # Of those that read clouds alone, one has a network of its own.
    clouds_alone = [name for name, system in SYSTEMS.items() if system.stream is None and not system.unsupervised]
    assert clouds_alone == [other["else"]["if"]["properties"]["system"]["const"]]


@pytest.mark.parametrize("name", [name for name, system in SYSTEMS.items() if system.files])
def test_files_of_an_unsupervised_system_are_keys_of_its_methods(name: str) -> None:
    config = complete(merged(default(), {"methods": {name: {"system": name}}}))
    assert all(config["methods"][name][key] is None for key in SYSTEMS[name].files)


def test_an_entry_of_systems_has_the_keys_and_defaults_of_the_registry() -> None:
    entry = SCHEMA["$defs"]["system"]
    own = System(module="", stream=None)
    known = {field.name for field in fields(System)} - {"teaching", "files"}
    assert set(entry["properties"]) == known
    for key, schema in entry["properties"].items():
        if "default" in schema:
            value = getattr(own, key)
            assert schema["default"] == (list(value) if isinstance(value, tuple) else value), key


@pytest.mark.parametrize("name", ["config", "paper"])
def test_config_files_are_valid(name: str) -> None:
    config = complete(yaml.safe_load((REPOSITORY / f"config/{name}.yaml").read_text()))
    own = {"mvtec3d", "eyecandies", "real3d"}
    assert set(written(config)) == own
    assert {name for name in config["datasets"] if name.endswith(".train")} == {f"{name}.train" for name in own}
    # All of the paper's systems, and none that came after it.
    of_paper = {system for system, entry in SYSTEMS.items() if not entry.batch}
    assert {method["system"] for method in config["methods"].values()} == of_paper
    assert config["resolution"] == 336


def test_paper_is_the_papers_experiment() -> None:
    config = complete(yaml.safe_load((REPOSITORY / "config/paper.yaml").read_text()))
    datasets = written(config)
    assert [len(dataset["categories"]) for dataset in datasets.values()] == [10, 10, 12]
    # Sec. 4.1
    assert datasets["mvtec3d"]["auxiliary"] == ["carrot", "cookie", "dowel"]
    assert datasets["eyecandies"]["auxiliary"] == ["Confetto", "LicoriceSandwich", "PeppermintCandy"]
    assert datasets["real3d"]["auxiliary"] == ["seahorse", "shell", "starfish"]
    assert datasets["real3d"]["n_points"] == 336 * 336
    assert all("generated" not in dataset and dataset["published"] == name for name, dataset in datasets.items())
    features = config["features"]["standard"]
    assert (features["model"], features["pretrained"], features["vv_blocks"]) == ("ViT-L-14-336", "openai", 19)
    for name in ("pointad", "pointad_plus"):
        assert (config["methods"][name]["epochs"], config["methods"][name]["context_length"]) == (15, 12)


def test_beyond_shares_the_defaults_results() -> None:
    """What both configs have by name is the same, so that neither makes the other's files again."""
    default, beyond = (
        complete(yaml.safe_load((REPOSITORY / f"config/{name}.yaml").read_text())) for name in ("config", "beyond")
    )
    for name, dataset in written(beyond).items():
        of_both = {key: value for key, value in dataset.items() if key != "auxiliary"}
        assert of_both == {key: value for key, value in default["datasets"][name].items() if key != "auxiliary"}
        assert set(dataset["auxiliary"]) <= set(default["datasets"][name]["auxiliary"])
    for section in ("features", "methods", "renderings", "aggregations"):
        for name in beyond[section].keys() & default[section].keys():
            # A label is the tables' alone: where methods share a system, each needs one.
            assert beyond[section][name] | {"label": None} == default[section][name] | {"label": None}
    assert {"pointad", "pointad_plus"} <= beyond["methods"].keys() & default["methods"].keys()


def test_more_scans_is_the_default_with_more_of_each() -> None:
    default, more = (
        yaml.safe_load((REPOSITORY / f"config/{name}.yaml").read_text()) for name in ("config", "more_scans")
    )
    laid_over = copy.deepcopy(default)
    update_config(laid_over, more)
    for name, dataset in complete(laid_over)["datasets"].items():
        if name in default["datasets"]:
            assert dataset["generated"]["scans"] == 3 * default["datasets"][name]["generated"]["scans"]
            assert set(dataset["auxiliary"]) == set(dataset["categories"])
            # Pictures take the first one's prompts, as of the default, which shows none that these have seen.
            assert dataset["auxiliary"][0] == default["datasets"][name]["auxiliary"][0]
    for dataset in (*laid_over["datasets"].values(), *default["datasets"].values()):
        del dataset["generated"]["scans"], dataset["auxiliary"]
    assert laid_over == default


def test_paper_does_as_the_published_code() -> None:
    config = complete(yaml.safe_load((REPOSITORY / "config/paper.yaml").read_text()))
    pictures = {"photographs": "bicubic", "masks": "bilinear"}
    for name, category, window in (
        ("mvtec3d", "bagel", 1024),
        ("eyecandies", "Lollipop", 1036),
        ("real3d", "car", 1036),
    ):
        render = plan.render_options(config, "standard", name, category)
        assert render["window"] == window
        assert render["visibility"] == "strict"
        assert render["masks"] == {"point_size": 6, "window": 1036}
        clouds = plan.cloud_options(config, name)
        assert {key: clouds[key] for key in pictures if key in clouds} == (pictures if name != "real3d" else {})
        assert "surroundings" not in clouds  # they stay
    for name, system in SYSTEMS.items():
        if system.unsupervised or system.batch:
            continue
        method = config["methods"][name]
        assert method["rgb_map"] == ("pixels" if system.rgb else "points")
        assert method["smoothing_over"] == "pixels"
        if system.losses.keys() >= {"global_3d", "local_3d"}:
            assert (method["global_3d"], method["dice"], method["batch_size"]) == ("mixed_logit_mean", "pixels", 4)
        if method.get("deep_length"):
            assert method["deep_precision"] == "half"
        if "cross" in system.losses:
            assert method["cross_loss"] == "ratio"


def test_the_default_has_none_of_the_published_conventions_and_no_surroundings() -> None:
    config = complete(default())
    for name in config["datasets"]:
        options = plan.cloud_options(config, name)
        unorganised = config["datasets"][name]["layout"] == "real3d"
        assert options.get("surroundings") == (None if unorganised else "black")
        assert not {"photographs", "masks"} & options.keys()
        render = plan.render_options(config, "standard", name, next(iter(config["datasets"][name]["categories"])))
        assert (render["visibility"], render["window"], render.get("masks")) == ("soft", 1024, None)
    for name in config["methods"]:
        chosen = plan.training_options(config, name) | plan.scoring_options(config, name)
        assert not {"dice", "deep_precision", "rgb_map", "smoothing_over"} & chosen.keys()
        assert chosen.get("global_3d", "probability_mean") == "probability_mean"


def test_defaults_follow_the_layout() -> None:
    datasets = written(complete(default()))
    assert [datasets[name]["view_set"] for name in datasets] == ["mvtec3d", "eyecandies", "real3d"]
    assert [datasets[name]["point_size"] for name in datasets] == [8, 10, 12]
    assert [datasets[name]["normals"] for name in datasets] == [
        {"radius": 0.1, "neighbours": 50},
        {"radius": 0.1, "neighbours": 50},
        {"radius": 0.8, "neighbours": 30},
    ]
    assert "n_points" not in datasets["mvtec3d"]
    assert [datasets[name].get("background") for name in datasets] == ["remove", "remove", None]


def with_run(**values: Any) -> dict[str, Any]:
    """An entry of `predictions` that takes the prompts of a run; `prompts` stands beside the run."""
    own = {key: values.pop(key) for key in ("prompts",) if key in values}
    run = {"method": "pointad_plus", "source": "mvtec3d", "auxiliary": "carrot", **values}
    return {"predictions": {"a": {"folder": "x", "run": run, **own}}}


def with_data(**values: Any) -> dict[str, Any]:
    return {"datasets": {"mvtec3d": values}}


VV_ALONE = {"model": "x", "random_seed": 1, "streams": ["vv"]}

OWN_UNSUPERVISED = {
    "toy": {
        "module": str(REPOSITORY / "tests/systems/toy_system.py"),
        "stream": None,
        "unsupervised": True,
        "trained": False,
    }
}
MISTAKES: list[tuple[dict[str, Any], str]] = [
    # The schema's.
    ({"methods": {"pointad": {"epochs": "many"}}}, "config: methods.pointad.epochs is 'many', expected integer >= 1"),
    ({"methods": {"pointad": {"epochs": 0}}}, "config: methods.pointad.epochs is 0, expected integer >= 1"),
    ({"methods": {"pointad": {"learning_rate": "1e-3"}}}, "methods.pointad.learning_rate is '1e-3' (text; a number"),
    ({"methods": {"pointad": {"epoch": 3}}}, "methods.pointad has the unknown key 'epoch' (did you mean 'epochs'?)"),
    ({"methods": {"clip_rendering": {"epochs": 3}}}, "unknown key 'epochs'; known in a method of system 'clip_render"),
    (
        {"methods": {"pointad": {"system": "pointnet"}}},
        "config: methods.pointad.system is 'pointnet' (did you mean 'pointad'?), expected one of the systems: anomaly",
    ),
    ({"methods": {"pointad": {"betas": [0.5]}}}, "methods.pointad.betas is [0.5], expected a list, of at least 2"),
    ({"methods": {"pointad": {"betas": [0.5, 1]}}}, "methods.pointad.betas[1] is 1, expected number >= 0 and < 1"),
    ({"methods": {"new": {}}}, "config: methods.new lacks the key 'system'"),
    ({"methods": {"pointad": 5}}, "config: methods.pointad is 5, expected a mapping"),
    (
        {"aggregations": {"standard": {"alpha": 1.5}}},
        "aggregations.standard.alpha is 1.5, expected number >= 0 and <= 1",
    ),
    ({"features": {"standard": {"streams": ["vvv"]}}}, "features.standard.streams[0] is 'vvv', expected one of vv, pl"),
    ({"systems": {"toy": {"stream": "vv"}}}, "config: systems.toy lacks the key 'module'"),
    ({"renderings": {"standard": {"renderer": "gl"}}}, "renderings.standard.renderer is 'gl', expected one of splat"),
    ({"resolutio": 56}, "config: the top level has the unknown key 'resolutio' (did you mean 'resolution'?)"),
    ({"seeds": []}, "config: seeds is [], expected a list, of at least 1"),
    ({"seeds": [1.5]}, "config: seeds[0] is 1.5, expected integer >= 0 and <= 4294967295"),
    ({"seeds": [1.0]}, "config: seeds[0] is 1.0, expected integer: 1"),
    ({"seeds": [2**70]}, "config: seeds[0] is 1180591620717411303424, expected at most 4294967295"),
    (with_data(seed=2**40), "config: datasets.mvtec3d.seed is 1099511627776, expected at most 4294967295"),
    ({"methods": {"pointad": {"smoothing_sigma": math.nan}}}, "config: methods.pointad.smoothing_sigma is nan, expec"),
    ({"view_sets": {"mine": {"tilt": math.inf, "x": [0]}}}, "config: view_sets.mine.tilt is inf, expected a finite n"),
    ({"view_sets": {"mine": {"x": [0, -math.inf]}}}, "config: view_sets.mine.x[1] is -inf, expected a finite number"),
    (
        {"methods": {"pointad": {"smoothing_sigma": 1e-30}}},
        "smoothing_sigma is 1e-30, expected 0 or a size of 1e-09 to",
    ),
    ({"methods": {"pointad": {"temperature": 1e300}}}, "methods.pointad.temperature is 1e+300, expected 0 or a size"),
    ({"methods": {"pointad": {"smoothing_sigma": 1000}}}, "smoothing_sigma is 1000, expected number >= 0 and <= 336"),
    ({"renderings": {"standard": {"window": 2**20}}}, "window is 1048576, expected integer >= 14 and <= 16384"),
    ({"view_sets": {"mine": {"tilt": 1e6, "x": [0]}}}, "view_sets.mine.tilt is 1000000.0, expected number >= -360"),
    (with_data(point_size=5000), "datasets.mvtec3d.point_size is 5000, expected integer >= 1 and <= 1024"),
    (with_data(categories={True: None}), "datasets.mvtec3d.categories has the name True, which YAML reads as bool and"),
    (with_data(categories={1: None}), "the name 1, which YAML reads as int and not as text; put it in quotes"),
    (
        {"datasets": {"mvtec3d": {"label": "A"}, "real3d": {"label": "A"}}},
        "config: several datasets have the label 'A', expected one for each",
    ),
    (
        {"datasets": {"mvtec3d": {"label": "own"}, "own": {"variant_of": "mvtec3d"}}},
        "config: several datasets have the label 'own', expected one for each",
    ),
    (
        {"methods": {"pointad": {"label": "PointAD+"}}},
        "config: several methods have the label 'PointAD+', expected one",
    ),
    (with_data(unit="km"), "datasets.mvtec3d.unit is 'km', expected one of m, cm, mm, um, inch, or a number of metres"),
    (with_data(unit=0), "datasets.mvtec3d.unit is 0, expected string or number > 0"),
    (with_data(unit=math.inf), "datasets.mvtec3d.unit is inf, expected a finite number"),
    (with_data(missing="zeros"), "datasets.mvtec3d.missing is 'zeros', expected one of auto, none, or a number"),
    ({"datasets": {"eyecandies": {"missing": 0}}}, "datasets.eyecandies.missing is 0; missing points of this layout"),
    (with_data(outliers="mark"), "datasets.mvtec3d.outliers is 'mark', expected one of none, remove"),
    (
        {"experiments": {"cross_dataset": 2 * [{"source": "mvtec3d", "targets": ["real3d"]}]}},
        "config: experiments.cross_dataset has the pair of 'mvtec3d' and 'real3d' more than once",
    ),
    ({"datasets": {"a/b": {}}}, "config: the name 'a/b' in datasets is not allowed, expected letters, digits"),
    (with_data(categories={"my cup": None}), "the name 'my cup' in datasets.mvtec3d.categories is not allowed"),
    (with_data(layout="mvtec"), "config: datasets.mvtec3d.layout is 'mvtec', expected one of mvtec3d, eyecandies, r"),
    (with_data(n_points=5), "unknown key 'n_points' (did you mean 'point_size'?); known in a data set of layout 'mv"),
    (with_data(normals={"radius": -1}), "config: datasets.mvtec3d.normals.radius is -1, expected number > 0"),
    (with_data(shard_size=0), "config: datasets.mvtec3d.shard_size is 0, expected null or integer >= 1"),
    (with_data(shard_size=-3), "config: datasets.mvtec3d.shard_size is -3, expected null or integer >= 1"),
    # Ours.
    (
        with_data(layout="folder_organised"),
        "datasets.mvtec3d.layout is 'folder_organised', expected one that can be gen",
    ),
    ({"predictions": {"a": {}}}, "config: predictions.a lacks the key 'folder'"),
    (
        {"predictions": {"a": {"folder": "x", "unit": "ell"}}},
        "config: predictions.a.unit is 'ell', expected one of m, ",
    ),
    (with_run(prompts="p.safetensors"), "config: predictions.a has both of the keys 'prompts' and 'run', expected one"),
    (with_run(method="pointad_minus"), "config: predictions.a.run.method is 'pointad_minus', expected one of: "),
    (with_run(method="anomalyclip"), "config: predictions.a.run.method is 'anomalyclip', expected one that is trained"),
    (
        with_run(source="mine"),
        "config: predictions.a.run.source is 'mine', expected one of: mvtec3d, eyecandies, real3d",
    ),
    (with_run(auxiliary="bagel"), "config: predictions.a.run.auxiliary is 'bagel', expected one of: carrot, cookie"),
    (with_run(seed=5), "config: predictions.a.run.seed is 5, expected one of: 111"),
    (
        {"predictions": {"a": {"folder": "x", "facing": "up"}}},
        "config: predictions.a: facing is 'up', expected auto, camera, around",
    ),
    (
        {"datasets": {"two": {"variant_of": "mvtec"}}},
        "config: datasets.two.variant_of is 'mvtec', expected another of datasets: eyecandies, mvtec3d, real3d",
    ),
    ({"datasets": {"mvtec3d": {"variant_of": "mvtec3d"}}}, "datasets.mvtec3d.variant_of is 'mvtec3d', expected anoth"),
    (
        {"datasets": {"two": {"variant_of": "mvtec3d", "root": "/data"}}},
        "config: datasets.two has root of its own; a variant is the same scans as mvtec3d",
    ),
    (
        {
            "datasets": {"two": {"variant_of": "mvtec3d", "categories": {"carrot": None}, "auxiliary": ["carrot"]}},
            "experiments": {"cross_dataset": [{"source": "mvtec3d", "targets": ["two"]}]},
        },
        "experiments.cross_dataset[0].targets[0] is 'two', whose only category 'carrot' is what prompts of 'mvtec3d' "
        "have seen",
    ),
    (
        {"methods": {"clip_rendering": {"features": "vv_alone"}}, "features": {"vv_alone": VV_ALONE}},
        "methods.clip_rendering.features is 'vv_alone', which keeps the streams vv; system 'clip_rendering' reads 'pl",
    ),
    (
        {"features": {"standard": {"model": "ViT-L-14-363"}}},
        "config: features.standard.model is 'ViT-L-14-363' (did you mean 'ViT-L-14-336'?), expected one of open_clip's",
    ),
    ({"features": {"standard": {"pretrained": "shape"}}}, "features.standard.pretrained is 'shape' (did you mean 'sha"),
    (
        {"features": {"big": {"model": "ViT-L-14-336", "pretrained": "opena"}}},
        "config: features.big.pretrained is 'opena' (did you mean 'openai'?), expected one of its weights: openai",
    ),
    (
        {"features": {"big": {"model": "ViT-H-14-378-quickgelu", "pretrained": "openai"}}},
        "features.big.pretrained is 'openai', expected one of its weights: dfn5b",
    ),
    ({"features": {"standard": {"quick_gelu": "yes"}}}, "features.standard.quick_gelu is 'yes', expected true or fal"),
    ({"features": {"standard": {"vv_blocks": 8}}}, "config: features.standard: vv_blocks is 8, model 'pointad-pocket'"),
    ({"resolution": 224}, "config: features.standard: resolution is 224, but model 'pointad-pocket' takes images of 3"),
    (
        {"methods": {"pointad": {"deep_blocks": 4}}},
        "config: methods.pointad: deep_blocks is 4, but the text tower of 'pointad-pocket' has 4 blocks",
    ),
    ({"methods": {"pointad": {"deep_length": 13}}}, "config: methods.pointad.deep_length is 13, it can be at most con"),
    (
        {"methods": {"pointad": {"context_length": 74, "defect_features": 1}}},
        "methods.pointad.context_length is 74, but the text tower of ",
    ),
    ({"methods": {"pointad": {"context_length": 75}}}, "methods.pointad.context_length is 75, but the text tower of "),
    (
        {"aggregations": {"standard": {"neighbours": 16384}}},
        "config: aggregations.standard.neighbours is 16384, but clouds of datasets.real3d have 16384 points (",
    ),
    ({"methods": {"pointad": {"batch_size": 10**20}}}, "methods.pointad.batch_size is 100000000000000000000, expected"),
    ({"methods": {"pointad_plus": {"aggregation": "x"}}}, "methods.pointad_plus.aggregation is 'x', expected one of"),
    (
        {"methods": {"pointad": {"loss_weights": {"geometry": 1}}}},
        "methods.pointad.loss_weights is 'geometry', expected a loss of system 'pointad': global_2d, global_3d",
    ),
    (
        {"methods": {"pointad_plus": {"loss_weights": {"geometry": 0, "cross": 0}}}},
        "methods.pointad_plus.loss_weights leaves the geometry prompts at their start, though they score: give a "
        "weight to geometry or cross, or take the system that has none, pointad or pointad_coop",
    ),
    (
        {"methods": {"anomalyclip": {"loss_weights": {"global_2d": 0, "local_2d": 0}}}},
        "methods.anomalyclip.loss_weights leaves the prompts at their start",
    ),
    (
        {"systems": {"pointad": {"module": "toy.py", "stream": "vv"}}},
        "config: systems.pointad is the name of a system of the package",
    ),
    (
        {"systems": {"toy": {"module": "nowhere/toy.py", "stream": "vv"}}},
        "config: systems.toy.module is 'nowhere/toy.py', expected a Python file; there is no such file",
    ),
    (with_data(root="/data"), "config: datasets.mvtec3d has both of the keys 'root' and 'generated'"),
    (with_data(published="mvtec3d"), "config: datasets.mvtec3d.published is set for a generated data set"),
    (with_data(auxiliary=["carot"]), "datasets.mvtec3d.auxiliary[0] is 'carot' (did you mean 'carrot'?), expected"),
    (with_data(auxiliary=[]), "experiments.one_vs_rest[0] is 'mvtec3d', but datasets.mvtec3d.auxiliary names no"),
    (with_data(view_set="mine"), "datasets.mvtec3d.view_set is 'mine', expected one of view_sets: eyecandies, mvtec"),
    (with_data(categories={"none": None}), "config: 'none' is taken, rename it in datasets.mvtec3d"),
    (with_data(density=0), "config: datasets.mvtec3d.density is 0"),
    (with_data(density=70), "config: datasets.mvtec3d.density is 70"),
    ({"view_sets": {"mine": {"tilt": 3}}}, "config: view_sets.mine has no view, expected an angle in x or y"),
    ({"renderings": {"standard": {"view_set": "x"}}}, "renderings.standard.view_set is 'x', expected one of view_sets"),
    ({"renderings": {"standard": {"window": 335}}}, "renderings.standard.window is 335, expected at least the resolut"),
    ({"renderings": {"standard": {"masks": {"window": 20}}}}, "renderings.standard.masks.window is 20, expected at l"),
    (
        {"datasets": {"real3d": {"rendering": {"window": 300}}}},
        "datasets.real3d.rendering.window is 300, expected at least the resolution, 336",
    ),
    (
        {"view_sets": {"one": {"y": [5]}}, "renderings": {"few": {"view_set": "one", "n_views": 3}}},
        "renderings.few with datasets.mvtec3d: n_views is 3, but 3 of them cannot be spread over the one angle in y",
    ),
    (
        {"renderings": {"depth": {"renderer": "depth", "n_views": 3}}},
        "renderings.depth.n_views is 3, but the renderer 'depth' has views of its own",
    ),
    (
        {"renderings": {"realistic": {"renderer": "realistic", "light": "+"}}},
        "renderings.realistic.light is '+', but the renderer 'realistic' has views of its own, which this",
    ),
    (
        {"renderings": {"depth": {"renderer": "depth", "masks": {}}}},
        "but the renderer 'depth' has views of its own, which this changes nothing of",
    ),
    (
        {"renderings": {"realistic": {"renderer": "realistic", "visibility": "strict"}}},
        "renderings.realistic.visibility is 'strict', but the renderer 'realistic' has views of its own",
    ),
    (
        {"renderings": {"dim": {"light": "---"}}},
        "config: renderings.dim.light is '---', expected one of ++, +, original",
    ),
    ({"features": {"standard": {"rendering": "x"}}}, "features.standard.rendering is 'x', expected one of renderings"),
    ({"features": {"standard": {"random_seed": 1}}}, "features.standard has pretrained and random_seed of the keys"),
    ({"features": {"new": {"model": "x"}}}, "features.new has none of the keys pretrained, checkpoint, random_seed"),
    (
        {"methods": {"pointad": {"features": "x"}}},
        "methods.pointad.features is 'x', expected one of features: depth, realistic, standard",
    ),
    (
        {"methods": {"anomalyclip": {"features": "standard"}}},
        "methods.anomalyclip.features is 'standard', features of the renderer 'splat'; system 'anomalyclip' reads "
        "those of depth",
    ),
    (
        {"methods": {"pointad": {"word_vectors": "words.txt"}}},
        "methods.pointad has the unknown key 'word_vectors'; known in a method of system 'pointad'",
    ),
    ({"methods": {"pointclip_v2": {"epochs": 3}}}, "methods.pointclip_v2 has the unknown key 'epochs'"),
    (
        {"methods": {"btf": {"epochs": 3}}},
        "methods.btf has the unknown key 'epochs'; known in a method of system 'btf'",
    ),
    ({"methods": {"btf": {"object_share": 0.1}}}, "methods.btf has the unknown key 'object_share'"),
    ({"methods": {"pointad": {"object_share": 1.5}}}, "methods.pointad.object_share is 1.5, expected number >= 0 and"),
    (
        {"methods": {"anomalyclip": {"object_share": 0.1}}},
        "methods.anomalyclip.object_share is 0.1, but system 'anomalyclip' has an object score that is its global pr",
    ),
    (
        {"systems": OWN_UNSUPERVISED, "methods": {"mine": {"system": "toy", "object_share": 0.1}}},
        "methods.mine.object_share is 0.1, but system 'toy' has an object score of its own; leave it out",
    ),
    (
        {"methods": {"pointad": {"view_weights": "median"}}},
        "methods.pointad.view_weights is 'median', expected one of mean, incidence, coverage, sharpness",
    ),
    (
        {"methods": {"cheraghian": {"view_weights": "coverage"}}},
        "methods.cheraghian.view_weights is 'coverage', but system 'cheraghian' reads clouds alone, and no views",
    ),
    (
        {"methods": {"anomalyclip": {"view_weights": "sharpness"}}},
        "methods.anomalyclip.view_weights is 'sharpness', but system 'anomalyclip' reads a single view of each scan",
    ),
    (
        {"methods": {"pointclip_v2": {"view_weights": "incidence"}}},
        "methods.pointclip_v2.view_weights is 'incidence', but system 'pointclip_v2' does not read shaded views, who",
    ),
    ({"methods": {"btf": {"coreset": 0}}}, "methods.btf.coreset is 0, expected number > 0 and <= 1"),
    ({"datasets": {"mvtec3d": {"split": "val"}}}, "datasets.mvtec3d.split is 'val', expected one of test, train"),
    ({"datasets": {"mvtec3d": {"split": "train"}}}, "mvtec3d.auxiliary names 'carrot', but a train split has no def"),
    (
        {
            "systems": {
                "toy": {"module": str(REPOSITORY / "tests/systems/toy_system.py"), "stream": None, "unsupervised": True}
            }
        },
        "systems.toy.unsupervised is true: it learns on no auxiliary class and reads clouds alone",
    ),
    (
        {"methods": {"pointad": {"published": "PointNet"}}},
        "methods.pointad.published is 'PointNet' (did you mean 'PointAD'?), expected",
    ),
    ({"methods": {"pointad": {"label": "A"}, "pointad_plus": {"label": "A"}}}, "several methods have the label 'A'"),
    ({"experiments": {"one_vs_rest": ["mvtec"]}}, "one_vs_rest[0] is 'mvtec' (did you mean 'mvtec3d'?), expected o"),
    (
        {"experiments": {"cross_dataset": [{"source": "x", "targets": ["real3d"]}]}},
        "experiments.cross_dataset[0].source is 'x', expected one of datasets: eyecandies, mvtec3d, real3d",
    ),
    (
        {"experiments": {"cross_dataset": [{"source": "mvtec3d", "targets": ["x", "mvtec3d"]}]}},
        "experiments.cross_dataset[0].targets[1] is 'mvtec3d', its own source",
    ),
]


@pytest.mark.parametrize(("values", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_mistakes_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        complete(merged(default(), values))
    assert message in str(caught.value)
    assert all(line.startswith("config: ") for line in str(caught.value).splitlines())


def test_scores_are_put_together_otherwise_where_that_means_something() -> None:
    methods = {
        "cheraghian": {"object_share": 0.1},
        "pointclip_v2": {"view_weights": "sharpness", "object_share": 1},
        "clip_rendering": {"view_weights": "incidence"},
        "pointad_plus": {"view_weights": "coverage"},
    }
    config = complete(merged(default(), {"methods": methods}))
    for name, keys in methods.items():
        assert {key: plan.scoring_options(config, name)[key] for key in keys} == keys
        if name not in ("pointclip_v2", "clip_rendering"):
            assert not keys.keys() & plan.training_options(config, name).keys()
    usual = complete(default())
    assert not any(plan.FURTHER.keys() & plan.scoring_options(usual, name).keys() for name in usual["methods"])


def test_all_wrong_references_are_named_at_once() -> None:
    values = {"methods": {"pointad": {"features": "x"}}, "experiments": {"one_vs_rest": ["y"]}}
    with pytest.raises(InputError) as caught:
        complete(merged(default(), values))
    assert len(str(caught.value).splitlines()) == 2


def test_neither_root_nor_generated() -> None:
    config = default()
    del config["datasets"]["mvtec3d"]["generated"]
    with pytest.raises(InputError, match="neither of the keys 'root' and 'generated'"):
        complete(config)


def test_one_category_cannot_be_tested_against_the_rest() -> None:
    config = default()
    config["datasets"]["mvtec3d"]["categories"] = {"carrot": None}
    config["datasets"]["mvtec3d"]["auxiliary"] = ["carrot"]
    with pytest.raises(InputError, match="which has one category"):
        complete(config)


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: &x {b: 1, c: [{d: 1}]}\ne: {<<: *x, b: 2}\n# b: 3\n")
    refuse_repeats(path)
    path.write_text("methods:\n  one: {epochs: 1}\n  two: 2\n  one: {epochs: 5}\n")
    with pytest.raises(InputError, match=r"config\.yaml: line 4 has the key 'one', which line 2 has already"):
        refuse_repeats(path)
    path.write_text('{"a": [{"b": 1,\n "b": 2}]}')
    with pytest.raises(InputError, match="line 2 has the key 'b', which line 1 has already"):
        refuse_repeats(path)
    path.write_text("view_sets: {a: {x: [1]}, b: {x: [1]}, a: {x: [2]}}\n")
    with pytest.raises(InputError, match="line 1 has the key 'a', twice; only the last would count"):
        refuse_repeats(path)
    # What cannot be read is for Snakemake to say.
    for text in ("a: [", "\t"):
        path.write_text(text)
        refuse_repeats(path)
    refuse_repeats(tmp_path / "nowhere.yaml")


def test_whole_numbers_are_those_of_the_schema() -> None:
    whole = {path[-1] for path, schema in KEYS if "integer" in schema.get("type", ())}
    whole |= {path[-1] for path, schema in KEYS if schema.get("items", {}).get("type") == "integer"}
    assert whole == INTEGERS


@pytest.mark.parametrize("name", ["config", "paper", "beyond"])
def test_defaults_are_put_in_as_by_snakemake(name):
    ours = yaml.safe_load((REPOSITORY / f"config/{name}.yaml").read_text())
    complete_variants(ours)
    theirs = copy.deepcopy(ours)
    schema = REPOSITORY / "workflow/schemas/config.schema.yaml"
    fill_in(ours, schema)
    validate(theirs, str(schema))
    assert repr(ours) == repr(dict(theirs))
