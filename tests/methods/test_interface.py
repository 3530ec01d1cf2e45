"""Settings of a method: from a config's entry, with the weights of the system's own losses."""

import pytest

from pointad_core.errors import InputError
from pointad_core.methods.interface import Settings
from pointad_core.methods.registry import SYSTEMS

LOSSES = {"near": 1.0, "far": 4.0}


def test_settings_of_a_config_entry():
    entry = {"system": "pointad", "label": "x", "epochs": 2, "betas": [0.9, 0.99], "loss_weights": {"cross": 0}}
    settings = Settings.of(entry, SYSTEMS["pointad_plus"].losses)
    assert (settings.epochs, settings.betas, settings.batch_size) == (2, (0.9, 0.99), 4)
    rendering = dict.fromkeys(("global_3d", "local_3d", "global_2d", "local_2d"), 1)
    assert settings.loss_weights == {**rendering, "geometry": 1, "cross": 0}


@pytest.mark.parametrize(
    "key", ["smoothing_over", "rgb_map", "view_weights", "deep_precision", "dice", "global_3d", "cross_loss"]
)
def test_other_choices_are_refused(key):
    with pytest.raises(InputError, match=f"{key} is 'both', allowed are "):
        Settings.of({key: "both"})


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_is_a_share(share):
    assert [Settings.of({"object_share": of}).object_share for of in (0, 0.2, 1)] == [0, 0.2, 1]
    with pytest.raises(InputError, match=r"object_share is .*, allowed are numbers from 0 to 1"):
        Settings.of({"object_share": share})


def test_weights_are_the_systems_own_where_the_entry_has_none():
    assert Settings.of({}, LOSSES).loss_weights == LOSSES
    assert Settings.of({"loss_weights": {"far": 0.5}}, LOSSES).loss_weights == {"near": 1, "far": 0.5}
    assert Settings.of({"loss_weights": {"near": 0}}, LOSSES).loss_weights == {"near": 0, "far": 4}
    assert Settings.of({}).loss_weights == {}
    assert Settings.of({}, SYSTEMS["anomalyclip"].losses).loss_weights == {"global_2d": 1, "local_2d": 4}


def test_weights_of_other_losses_are_refused():
    with pytest.raises(InputError, match=r"loss_weights has \['focal'\], allowed are \['far', 'near'\]"):
        Settings.of({"loss_weights": {"focal": 1, "near": 1}}, LOSSES)
    with pytest.raises(InputError, match=r"loss_weights has \['near'\], allowed are \[\]"):
        Settings.of({"loss_weights": {"near": 1}})


def test_weights_that_are_all_0_are_refused():
    with pytest.raises(InputError, match="loss_weights: all are 0, so that nothing can be learnt"):
        Settings.of({"loss_weights": {"near": 0, "far": 0.0}}, LOSSES)
    assert Settings.of({"loss_weights": {"near": 0}}, LOSSES).loss_weights["near"] == 0
