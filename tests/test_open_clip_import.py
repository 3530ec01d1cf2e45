"""open_clip comes without what is never used, and leaves it to be imported by others."""

import subprocess
import sys

import pytest


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)


def test_encoding_and_training_import_nothing_that_they_do_not_use() -> None:
    code = """
import sys
import torch
from types import SimpleNamespace
from pointad_core.clip import load_clip
from pointad_core.methods import Settings
from pointad_core.prompts import Adam, Prompts, train_step

clip = load_clip("pointad-pocket", 1, random_seed=1)
clip.encode_images(torch.zeros(1, 3, 336, 336))
clip.encode_text(["object"])
settings, cpu = Settings(deep_blocks=3), torch.device("cpu")
learner = Prompts.draw(clip, {"rendering": ("object.", "damaged object.")}, settings, torch.Generator())
method = SimpleNamespace(loss_terms=lambda state, *_: {"global_3d": state["rendering"][0].sum()})
adam = Adam(learner.parameters(), 0.1, (0.5, 0.999))
before = learner.state()["rendering"]
train_step(method, learner, adam, [(SimpleNamespace(on=lambda device: None), cpu)], 1, settings, cpu)
assert not torch.equal(learner.state()["rendering"], before)
unused = ("torchvision", "timm", "transformers", "torch._dynamo", "sympy")
print(*[name for name in unused if name in sys.modules])
"""
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_a_stand_in_says_so_when_it_is_needed() -> None:
    code = """
from pointad_core.open_clip_import import import_open_clip
import_open_clip().image_transform(224, is_train=False)
"""
    done = run(code)
    assert "RuntimeError: torchvision.transforms.Normalize is needed, but open_clip was imported without" in done.stderr


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A torchvision and a timm of this test's own, which are found before any other."""
    (tmp_path / "torchvision/ops").mkdir(parents=True)
    (tmp_path / "torchvision/__init__.py").write_text("own = True")
    (tmp_path / "torchvision/ops/__init__.py").write_text("")
    (tmp_path / "torchvision/ops/misc.py").write_text("class FrozenBatchNorm2d: own = True")
    (tmp_path / "torchvision/transforms").mkdir()
    (tmp_path / "torchvision/transforms/__init__.py").write_text(
        "class ToTensor: pass\nclass InterpolationMode: BICUBIC = 3\n"
        "Normalize = Compose = RandomResizedCrop = Resize = CenterCrop = ColorJitter = Grayscale = None"
    )
    (tmp_path / "torchvision/transforms/functional.py").write_text("")
    (tmp_path / "timm.py").write_text("own = True")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")


def test_others_import_the_real_packages_afterwards(packages) -> None:
    code = """
from pointad_core.open_clip_import import import_open_clip
before = import_open_clip()
import timm, torchvision
from torchvision.ops.misc import FrozenBatchNorm2d
print(timm.own, torchvision.own, FrozenBatchNorm2d.own, import_open_clip() is before)
"""
    done = run(code)
    assert done.stdout.split() == ["True"] * 4, done.stderr


def test_a_package_that_is_there_already_is_used(packages) -> None:
    code = """
import torchvision
from pointad_core.open_clip_import import import_open_clip
print(import_open_clip().utils.FrozenBatchNorm2d.own)
"""
    done = run(code)
    assert done.stdout.split() == ["True"], done.stderr
