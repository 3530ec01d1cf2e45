"""Libraries come without what is never used, and leave it to be imported by others."""

import subprocess
import sys

import pytest


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)


def test_encoding_imports_nothing_that_it_does_not_use() -> None:
    code = """
import sys
import torch
from pointad_core.clip.loading import load_clip

clip = load_clip("pointad-pocket", 1, random_seed=1)
clip.encode_images(torch.zeros(1, 3, 336, 336))
clip.encode_text(["object"])
tokens = clip.tokenize(["X X X X X object."])
deep = torch.zeros(3, 4, 64, requires_grad=True)
clip.encode_prompts(clip.embed_tokens(tokens), clip.end_positions(tokens), deep).sum().backward()
unused = ("torchvision", "timm", "transformers", "torch._dynamo", "sympy")
print(*[name for name in unused if name in sys.modules])
"""
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_what_is_taken_from_torchvision_is_real_and_what_is_left_out_says_so() -> None:
    code = """
from PIL import Image
from pointad_core.imports import import_open_clip
open_clip = import_open_clip()
print(*open_clip.image_transform(224, is_train=False)(Image.new("RGB", (300, 260))).shape)
open_clip.create_model("ViT-B-16-SigLIP", device="meta")
"""
    done = run(code)
    assert done.stdout.split() == ["3", "224", "224"], done.stderr
    assert "RuntimeError: Please install the latest timm" in done.stderr


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A torchvision and a timm of this test's own, which are found before any other and say when they are run."""
    (tmp_path / "torchvision/ops").mkdir(parents=True)
    (tmp_path / "torchvision/__init__.py").write_text("own = True; print('run')")
    (tmp_path / "torchvision/ops/__init__.py").write_text("own = True; print('run')")
    (tmp_path / "torchvision/ops/misc.py").write_text("class FrozenBatchNorm2d: own = True")
    (tmp_path / "torchvision/transforms").mkdir()
    (tmp_path / "torchvision/transforms/__init__.py").write_text(
        "class ToTensor: pass\nclass InterpolationMode: BICUBIC = 3\n"
        "Normalize = Compose = RandomResizedCrop = Resize = CenterCrop = ColorJitter = Grayscale = None"
    )
    (tmp_path / "torchvision/transforms/functional.py").write_text("")
    (tmp_path / "timm.py").write_text("own = True; print('run')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")


def test_others_import_the_real_packages_afterwards(packages) -> None:
    code = """
from pointad_core.imports import import_open_clip
before = import_open_clip()
print("imported")
import timm, torchvision
from torchvision.ops.misc import FrozenBatchNorm2d
import torchvision.ops
print(timm.own, torchvision.own, torchvision.ops.own, FrozenBatchNorm2d.own, import_open_clip() is before)
"""
    done = run(code)
    assert done.stdout.split() == ["imported", *["run"] * 3, *["True"] * 5], done.stderr


def test_a_package_that_is_there_already_is_used(packages) -> None:
    code = """
import timm, torchvision
from pointad_core.imports import import_open_clip
open_clip = import_open_clip()
import sys
print(open_clip.utils.FrozenBatchNorm2d is sys.modules["torchvision.ops.misc"].FrozenBatchNorm2d)
print(sys.modules["torchvision"] is torchvision, sys.modules["timm"] is timm, open_clip.utils.FrozenBatchNorm2d.own)
"""
    done = run(code)
    assert done.stdout.split() == [*["run"] * 3, *["True"] * 4], done.stderr


@pytest.mark.parametrize("others", ["", "import_open3d(), import_open_clip()"])
def test_torch_comes_whole(others) -> None:
    """Its compiler is imported by any of its optimizers."""
    code = f"""
import sys
from pointad_core.imports import import_open3d, import_open_clip, import_torch
torch = import_torch()
{others}
assert import_torch() is torch and "torch._dynamo" not in sys.modules
part = torch.zeros(3, requires_grad=True)
optimizer = torch.optim.AdamW([part])
part.sum().backward()
optimizer.step()
import torch._decomp, torch._refs, torch.distributed._tensor
print(part.detach().lt(0).all().item(), torch.empty(2, 3, 4, device="meta").norm(dim=1).shape == (2, 4))
"""
    done = run(code)
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_open3d_comes_without_its_web_server_which_can_be_imported_later() -> None:
    code = """
import sys
from pointad_core.imports import import_open3d
o3d = import_open3d()
assert not {"dash", "plotly", "open3d.visualization.draw_plotly"} & sys.modules.keys()
assert len(o3d.geometry.PointCloud(o3d.utility.Vector3dVector([[1.0, 2, 3]])).points) == 1
shown = o3d.visualization.get_plotly_fig
try:
    shown(geometry_list=None)
except TypeError as error:  # the real function's
    print(type(error).__name__)
from open3d.visualization import draw_plotly
import open3d.visualization.draw_plotly as module
import plotly
print(module.__file__ is not None, "dash" in sys.modules, import_open3d() is o3d)
"""
    done = run(code)
    assert done.stdout.split() == ["TypeError", "True", "True", "True"], done.stderr


@pytest.mark.parametrize("collecting", [True, False])
def test_garbage_is_collected_afterwards_as_it_was_before(collecting) -> None:
    code = f"""
import gc
{"gc.enable()" if collecting else "gc.disable()"}
from pointad_core.imports import import_open3d, import_open_clip, import_torch
for load in (import_torch, import_open3d, import_open_clip, import_torch):
    load()
    print(gc.isenabled())
"""
    done = run(code)
    assert done.stdout.split() == [str(collecting)] * 4, done.stderr


def test_open3d_is_left_as_it_is_where_it_is_there_already() -> None:
    code = """
import open3d, sys
before = sys.modules["open3d.visualization.draw_plotly"]
from pointad_core.imports import import_open3d
print(import_open3d() is open3d, sys.modules["open3d.visualization.draw_plotly"] is before)
"""
    done = run(code)
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_what_talks_to_a_hub_is_imported_when_it_is_called() -> None:
    code = """
import sys
from pointad_core.imports import import_open_clip
open_clip = import_open_clip()
assert not {"huggingface_hub", "httpx", "trio", "open_clip.push_to_hf_hub"} & sys.modules.keys()
try:
    open_clip.pretrained.hf_hub_download("no/such/name", "weights")
except Exception as error:
    print(type(error).__module__.partition(".")[0])
try:
    open_clip.push_to_hf_hub()
except TypeError as error:  # the real function's: arguments are missing
    print("push_to_hf_hub() missing" in str(error))
import huggingface_hub
modules = huggingface_hub, sys.modules["open_clip.push_to_hf_hub"]
print(open_clip.pretrained._has_hf_hub, *[bool(module.__file__) for module in modules])
"""
    done = run(code)
    assert done.stdout.split() == ["huggingface_hub", "True", "True", "True", "True"], done.stderr


def test_ctrl_c_waits_for_the_end_of_an_import(tmp_path) -> None:
    (tmp_path / "open3d.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhole = True\n")
    code = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell's background has started
sys.path.insert(0, {str(tmp_path)!r})
from pointad_core.imports import import_open3d
try:
    import_open3d()
except KeyboardInterrupt:
    print(sys.modules["open3d"].whole)
"""
    done = run(code)
    assert done.stdout.split() == ["True"], done.stderr
