"""Products of the vision tower in 16 bits: where they are used, and how far features and scores move."""

import platform
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pointad_core.clip.loading import load_clip
from pointad_core.clip.precision import PRECISIONS, choose_precision, precision_name
from pointad_core.clip.tower import STREAMS, encode
from pointad_core.datasets.generator.scans import generate_category
from pointad_core.datasets.registry import reader
from pointad_core.detector import Detector
from pointad_core.errors import InputError

LOWER = ("bfloat16", "float16")
LARGEST = {"bfloat16": 5e-3, "float16": 1e-3}
"""Difference of a score to that with float32 at most, on a scale from 0 to 1; found are 1.2e-3 and 2.8e-4."""


class Products(TorchDispatchMode):
    """Notes the types of what is multiplied, and of what is normalised, within it."""

    def __init__(self):
        super().__init__()
        self.products, self.norms = set(), set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket._qualified_op_name.removeprefix("aten::")
        if name in ("mm", "addmm", "bmm", "baddbmm") or "scaled_dot_product" in name:
            self.products.add(args[-1].dtype if name != "addmm" else args[1].dtype)
        if name == "native_layer_norm":
            self.norms.add(args[0].dtype)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_blocks_multiply_in_it_and_add_up_in_float32(models, precision):
    clip = load_clip("tiny", 2, random_seed=3, precision=precision)
    tokens = clip.embed_patches(torch.rand(1, 3, 42, 42))
    with torch.no_grad(), Products() as seen:
        found = clip.encode_tokens(tokens)
    # The last projection is a product in float32 whatever the precision.
    assert seen.products == {PRECISIONS[precision], torch.float32}
    assert seen.norms == {torch.float32}
    assert {part.dtype for part in found.values()} == {torch.float32}
    assert clip.visual.transformer.resblocks[0].attn.in_proj_weight.dtype == PRECISIONS[precision]
    with torch.no_grad(), Products() as seen:
        clip.encode_text(["a bagel"])
    assert seen.products | seen.norms == {torch.float32}


@pytest.mark.parametrize("precision", LOWER)
def test_features_are_those_of_float32_but_for_rounding(models, precision):
    images = np.random.default_rng(3).integers(256, size=(4, 42, 42), dtype=np.uint8)
    exact, found = (
        encode(load_clip("tiny", 2, random_seed=3, precision=one), images, STREAMS, 2) for one in ("float32", precision)
    )
    step = torch.finfo(PRECISIONS[precision]).eps
    for name, feature in found.items():
        assert feature.dtype == torch.float16
        norms = feature.float().norm(dim=-1)
        torch.testing.assert_close(norms, torch.ones_like(norms), atol=1e-3, rtol=0)
        apart = (feature.float() - exact[name].float()).norm(dim=-1)
        assert 0 < apart.max() < 4 * step


@pytest.mark.parametrize("precision", LOWER)
def test_scores_hardly_move(tmp_path, precision):
    """Of the model that comes with the package, with its prompts, on a generated scan with a defect."""
    torch.set_num_threads(1)
    generate_category(tmp_path, "mvtec3d", "carrot", [0, 1], seed=3)
    module = reader("mvtec3d")
    raw = module.read(next(scan for scan in module.find_scans(tmp_path, "carrot") if not scan.name.startswith("good")))
    views = {"views": {"tilt": 180, "x": [0, 30], "y": []}}
    exact, found = (
        Detector.load(device="cpu", model={"precision": one}, renders=views).score(raw)
        for one in ("float32", precision)
    )
    apart = np.nanmax(np.abs(found.points - exact.points)), abs(found.object - exact.object)
    assert 0 < max(apart) < LARGEST[precision]


def test_a_precision_that_is_none_or_that_the_device_lacks_is_refused(models, monkeypatch):
    with pytest.raises(InputError, match="precision is 'double', allowed are float32, bfloat16, float16, auto"):
        load_clip("tiny", 2, random_seed=3, precision="double")

    def fail(*_):
        raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'\nmore")

    monkeypatch.setattr("torch.nn.functional.linear", fail)
    with pytest.raises(InputError, match=r"precision is 'float16', in which this cpu does not compute: .*'Half'$"):
        load_clip("tiny", 2, random_seed=3, precision="float16")


@pytest.mark.parametrize(
    ("found", "kind"), [({"amx_bf16": True}, "bfloat16"), ({"avx512_bf16": True}, "float32"), ({}, "float32")]
)
def test_auto_is_bfloat16_where_a_cpu_has_units_for_it(monkeypatch, models, found, kind):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: found)
    assert precision_name(choose_precision("auto", torch.device("cpu"))) == kind
    clip = load_clip("tiny", 2, random_seed=3, precision="auto")
    assert clip.precision == PRECISIONS[kind]


@pytest.mark.parametrize(("capability", "kind"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_auto_is_bfloat16_on_gpus_since_ampere(monkeypatch, capability, kind):
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: capability)
    assert precision_name(choose_precision("auto", torch.device("cuda"))) == kind


def test_what_torch_says_of_a_cpu_is_what_the_system_says():
    """By Linux's own list, where there is one."""
    listed = Path("/proc/cpuinfo")
    if not listed.exists() or platform.machine() != "x86_64":
        pytest.skip("no list of an x86 processor's flags")
    flags = set(listed.read_text().split())
    kind = "bfloat16" if "amx_bf16" in flags else "float32"
    assert precision_name(choose_precision("auto", torch.device("cpu"))) == kind
