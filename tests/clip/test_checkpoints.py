"""Matrices in 8 bits, and what is no state dict."""

import pytest
import torch

from pointad_core.clip.checkpoints import narrow, read_checkpoint, widen
from pointad_core.errors import InputError


def test_narrow_and_widen(tmp_path):
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    state = {
        "block.weight": torch.randn(5, 7, generator=generator) * torch.logspace(-6, 3, 5)[:, None],
        "block.bias": torch.randn(5, generator=generator),
        "empty.weight": torch.zeros(2, 3),
    }
    small = narrow(state, {"block.weight", "empty.weight"})
    assert {name: value.dtype for name, value in small.items()} == {
        "block.weight": torch.int8,
        "block.weight.scale": torch.float32,
        "block.bias": torch.float16,
        "empty.weight": torch.int8,
        "empty.weight.scale": torch.float32,
    }
    wide = widen(small)
    assert wide.keys() == state.keys()
    for row, found in zip(state["block.weight"], wide["block.weight"], strict=True):
        assert (row - found).abs().max() <= row.abs().max() / 127 / 2 * 1.0001
    assert torch.equal(wide["empty.weight"], state["empty.weight"])
    torch.testing.assert_close(wide["block.bias"].float(), state["block.bias"], rtol=1e-3, atol=1e-6)

    from safetensors.torch import save_file

    save_file(small, tmp_path / "small.safetensors")
    read = read_checkpoint(tmp_path / "small.safetensors")
    assert all(torch.equal(read[name], wide[name]) for name in wide)
    assert read.keys() == wide.keys()


def test_a_scale_of_its_own_is_an_ordinary_tensor():
    state = {"logit.scale": torch.tensor([2.0]), "weight": torch.ones(2, 2)}
    assert {name: value.tolist() for name, value in widen(state).items()} == {
        "logit.scale": [2.0],
        "weight": [[1.0, 1.0], [1.0, 1.0]],
    }


def test_tensors_without_names_are_refused(tmp_path):
    path = tmp_path / "numbered.pt"
    torch.save({0: torch.ones(2)}, path)
    with pytest.raises(InputError, match=r"numbered\.pt: 0 is of type Tensor, a state dict holds tensors by name only"):
        read_checkpoint(path)
