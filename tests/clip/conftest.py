"""Small models for the tests of this room."""

import clip_oracle as oracle
import pytest


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Registers variants of the tiny model; returns the folder for more."""
    folder = tmp_path_factory.mktemp("models")
    oracle.register(folder)
    oracle.register(folder, "tiny-quickgelu", quick_gelu=True)
    oracle.register(
        folder, "tiny-scale", vision={"ls_init_value": 0.3, "patch_dropout": 0.5}, text={"ls_init_value": 2}
    )
    oracle.register(folder, "tiny-no-ln-pre", vision={"no_ln_pre": True})
    oracle.register(folder, "tiny-custom-text", custom_text=True)
    # Its end token is the full stop, which is not the largest number of a text.
    oracle.register(folder, "tiny-end-token", text={"pool_type": "eos", "eos_id": 269})
    return folder
