"""Descriptions of models without the models, and the checks that need no more than these."""

import subprocess
import sys

import pytest

from pointad_core.clip.loading import import_models
from pointad_core.clip.models_index import check_deep_blocks, check_model, describe, model_files, open_clip_tags
from pointad_core.errors import InputError


def test_descriptions_are_open_clips_own_and_come_without_it() -> None:
    code = """
import sys
from pointad_core.clip.models_index import describe, model_files
found = {name: describe(name) for name in model_files()}
print(*[name for name in ("torch", "numpy", "open_clip", "torchvision") if name in sys.modules])

from pointad_core.clip.loading import import_models
open_clip = import_models()
print(found == {name: open_clip.get_model_config(name) for name in open_clip.list_models()})
print("pointad-pocket" in found and "ViT-L-14-336" in found)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.stdout.split("\n") == ["", "True", "True", ""], done.stderr


@pytest.mark.parametrize("name", ["ViT-L-14-366", "", "../models/pointad-pocket", "hf-hub:someone/something"])
def test_an_unknown_model_has_no_description(name) -> None:
    assert describe(name) is None


def test_without_open_clip_there_are_the_packages_own(monkeypatch) -> None:
    monkeypatch.setattr("pointad_core.clip.models_index.find_spec", lambda name: None)
    assert list(model_files()) == ["pointad-pocket"]
    assert describe("ViT-L-14-336") is None


def test_a_description_is_enough_to_check_options() -> None:
    large = describe("ViT-L-14-336")
    assert large is not None
    check_model("ViT-L-14-336", large, 19, 336)
    with pytest.raises(InputError, match="vv_blocks is 24, model 'ViT-L-14-336' with 24 blocks allows 1 to 23"):
        check_model("ViT-L-14-336", large, 24, 336)
    with pytest.raises(InputError, match="resolution is 224, but model 'ViT-L-14-336' takes images of 336 pixels"):
        check_model("ViT-L-14-336", large, 19, 224)
    check_deep_blocks("ViT-L-14-336", 11, large["text_cfg"]["layers"])
    with pytest.raises(InputError, match=r"deep_blocks is 12.*'ViT-L-14-336' has 12 blocks: at most 11"):
        check_deep_blocks("ViT-L-14-336", 12, large["text_cfg"]["layers"])


def test_open_clips_tags_are_read_without_it() -> None:
    open_clip = import_models()
    models = [*open_clip.list_models(), "no-such-model"]
    assert {model: open_clip_tags(model) for model in models} == {
        model: open_clip.list_pretrained_tags_by_model(model) for model in models
    }
    assert "openai" in open_clip_tags("ViT-L-14-336")
