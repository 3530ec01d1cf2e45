"""Prompts learnt in memory are those that the stages learn, bit for bit."""

import csv

import numpy as np
import pytest
import torch

from pointad_core.datasets.generator.scans import generate_category
from pointad_core.datasets.registry import LAYOUTS, reader
from pointad_core.detector import Detector
from pointad_core.errors import InputError
from pointad_core.methods.registry import SYSTEMS, plain
from pointad_core.methods.shipped import ORGANISED, POINTS
from pointad_core.predict.predictor import N_POINTS
from pointad_core.predict.training import learn, learning_detector, make_example, save, trainable
from pointad_core.stages.aggregation import make_aggregation
from pointad_core.stages.clouds import make_clouds
from pointad_core.stages.features import make_features
from pointad_core.stages.prompts import make_prompts
from pointad_core.stages.renders import make_renders
from pointad_core.storage.prompt_files import read_prompts, read_provenance

CASES = {"mvtec3d": (ORGANISED, "carrot", "pointad_plus"), "real3d": (POINTS, "shell", "pointad")}
OPTIONS = {"epochs": 2, "deep_blocks": 3}


class Learnt:
    """Four generated scans, and prompts of them from the stages, prepared as the shipped prompts say."""

    def __init__(self, folder, layout):
        self.base, category, self.system = CASES[layout]
        self.root, entry = folder / "raw", SYSTEMS[self.system]
        generate_category(self.root, layout, category, range(4), seed=3)
        module = reader(layout)
        self.scans = [(scan, module.read(scan)) for scan in module.find_scans(self.root, category)]
        inputs = read_provenance(self.base)["inputs"]
        layouts = {"name": layout, **vars(LAYOUTS[layout])}
        at = {stage: folder / f"{stage}.zarr.zip" for stage in ("clouds", "renders", "features", "aggregation")}
        # As the predictor prepares scans: nothing is cut off, and more points are kept.
        clouds = {**inputs["clouds"], "n_points": N_POINTS, "sampling": "farthest", "background": "none"}
        make_clouds(self.root, at["clouds"], "toys", layouts, category, clouds, {})
        make_renders(at["clouds"], at["renders"], inputs["renders"], {})
        make_features(
            **{stage: at[stage] for stage in ("clouds", "renders")},
            output=at["features"],
            options=inputs["features"],
            provenance={},
        )
        make_aggregation(
            **{stage: at[stage] for stage in ("clouds", "renders", "features")},
            output=at["aggregation"],
            options=inputs["aggregation"],
            provenance={},
        )
        self.prompts, self.curve, self.model = folder / "p.safetensors", folder / "p.csv", inputs["features"]
        self.model = read_provenance(self.base)["model"]
        make_prompts(plain(entry), at, self.prompts, self.curve, OPTIONS, self.model, None, 7, {})


@pytest.fixture(scope="module", params=list(CASES))
def learnt(request, tmp_path_factory):
    torch.set_num_threads(1)
    return Learnt(tmp_path_factory.mktemp(request.param), request.param)


def own(learnt, output, seed=7):
    detector = learning_detector(learnt.base, learnt.system, OPTIONS)
    examples = [make_example(detector, raw, scan.defect != "good", scan.name) for scan, raw in learnt.scans]
    learner, rows = learn(detector, examples, seed)
    return save(output, learnt.base, detector, learner, rows, {"seed": seed, "category": "mine"})


def test_they_are_those_of_the_stages_to_the_bit_and_are_used_like_them(learnt, tmp_path):
    output = tmp_path / "mine.safetensors"
    curve = own(learnt, output)
    found, expected = read_prompts(output), read_prompts(learnt.prompts)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)
    assert curve.read_bytes() == learnt.curve.read_bytes()
    with open(curve) as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    # A detector is loaded from it that looks at scans as they were learnt on, and scores with what was learnt.
    _, raw = learnt.scans[0]
    mine, theirs = Detector.load(output, "cpu"), learning_detector(learnt.base, learnt.system, OPTIONS)
    for part in ("clouds", "renders", "aggregation", "extent", "model"):
        assert getattr(mine, part) == getattr(theirs, part)
    before = Detector.load(learnt.base, "cpu", clouds=dict(theirs.clouds))
    assert mine.score(raw).object != before.score(raw).object
    again = tmp_path / "again.safetensors"
    own(learnt, again)
    assert again.read_bytes() == output.read_bytes()


def test_another_seed_learns_others(learnt, tmp_path):
    own(learnt, tmp_path / "a.safetensors", seed=8)
    found, expected = read_prompts(tmp_path / "a.safetensors"), read_prompts(learnt.prompts)
    assert not all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_scans_without_a_defect_teach_nothing(learnt):
    detector = learning_detector(learnt.base, learnt.system, OPTIONS)
    good = next(raw for scan, raw in learnt.scans if scan.defect == "good")
    with pytest.raises(InputError, match="no scan with a labelled defect, from which prompts could learn"):
        learn(detector, [make_example(detector, good, False, "a")], 0)


def test_systems_that_learn_otherwise_are_refused():
    assert list(trainable()) == ["pointad_coop", "pointad", "pointad_plus_coop", "pointad_plus"]
    with pytest.raises(
        InputError, match="'cheraghian' does not learn from shaded views; those that do are pointad_coop"
    ):
        learning_detector(ORGANISED, "cheraghian", {})


def test_a_system_that_names_the_scans_is_told_what_they_are(learnt):
    detector = learning_detector(learnt.base, "pointad_coop", OPTIONS)
    examples = [make_example(detector, raw, scan.defect != "good", scan.name) for scan, raw in learnt.scans]
    learner, _ = learn(detector, examples, 0, "bracket")
    assert any("bracket" in text for texts in learner.description()["texts"].values() for text in texts)


def test_another_model_is_taken_by_the_configs_keys(tmp_path):
    model = {"model": "pointad-pocket", "random_seed": 3, "vv_blocks": 1}
    detector = learning_detector(ORGANISED, "pointad", OPTIONS, model)
    assert detector.model == {**model, "resolution": 336}
    assert detector.settings.epochs == 2
    assert np.isclose(detector.settings.learning_rate, 0.001)
