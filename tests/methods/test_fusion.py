"""M3DM's fusion: against loops in float64, what it learns, and files in the published form."""

import math

import pytest
import torch

from pointad_core.errors import InputError
from pointad_core.methods.fusion import Fusion, first_fusion, learning_rate, load_fusion, train_fusion
from tests.transformer_oracle import naive_norm, noisy

CPU = torch.device("cpu")


def naive_mlp(mlp, x):
    hidden = mlp.fc1.weight.double() @ x + mlp.fc1.bias.double()
    bent = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    return mlp.fc2.weight.double() @ bent + mlp.fc2.bias.double()


def test_fused_features_and_the_loss_are_those_of_loops():
    fusion = noisy(Fusion(6, 4, 2.0))
    rng = torch.Generator().manual_seed(1)
    xyz, rgb = torch.randn(5, 6, generator=rng), torch.randn(5, 4, generator=rng)
    clouds = [naive_mlp(fusion.xyz_mlp, naive_norm(fusion.xyz_norm, x)) for x in xyz.double()]
    photographs = [naive_mlp(fusion.rgb_mlp, naive_norm(fusion.rgb_norm, x)) for x in rgb.double()]
    wanted = torch.stack([torch.cat(pair) for pair in zip(clouds, photographs, strict=True)])
    torch.testing.assert_close(fusion(xyz, rgb).double(), wanted, rtol=1e-4, atol=1e-4)

    def unit(head, x):
        x = head.weight.double() @ x + head.bias.double()
        return x / math.sqrt(float((x * x).sum()))

    keys = [unit(fusion.xyz_head, x) for x in clouds]
    losses = []
    for index, photograph in enumerate(photographs):
        query = unit(fusion.rgb_head, photograph)
        shares = [math.exp(float(query @ key)) for key in keys]
        losses.append(-2 * math.log(shares[index] / sum(shares)))
    assert fusion.loss(xyz, rgb).item() == pytest.approx(sum(losses) / 5, rel=1e-4)


def pairs(n, seed):
    """Features of patches: the same four numbers seen by two modalities."""
    hidden = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
    first, second = (torch.randn(4, d, generator=torch.Generator().manual_seed(d)) for d in (12, 8))
    return torch.tanh(hidden @ first), torch.tanh(hidden @ second)


def test_it_learns_which_patches_belong_together():
    def share_found(fusion):
        xyz, rgb = pairs(50, 9)
        fused = fusion(xyz, rgb)
        queries, keys = fusion.rgb_head(fused[:, 12:]), fusion.xyz_head(fused[:, :12])
        cosines = torch.nn.functional.normalize(queries, dim=1) @ torch.nn.functional.normalize(keys, dim=1).T
        return (cosines.argmax(1) == torch.arange(50)).float().mean().item()

    fusion = first_fusion(12, 8, 4.0, torch.Generator().manual_seed(0))
    before = share_found(fusion)
    losses = [loss for _, loss in train_fusion(fusion, *pairs(400, 1), 30, 64, 0.003, torch.Generator().manual_seed(1))]
    assert len(losses) == 30 * 7
    assert sum(losses[-7:]) < sum(losses[:7])
    assert share_found(fusion) > max(0.3, 3 * before)


def test_the_same_seed_gives_the_same_networks():
    def trained(seed):
        fusion = first_fusion(12, 8, 1.0, torch.Generator().manual_seed(seed))
        steps = list(train_fusion(fusion, *pairs(20, 1), 2, 8, 0.01, torch.Generator().manual_seed(seed)))
        return steps, fusion.state_dict()

    (steps, weights), (again, same), (other, _) = trained(0), trained(0), trained(1)
    assert [epoch for epoch, _ in steps] == [1, 1, 1, 2, 2, 2]
    assert steps == again != other
    assert all(torch.equal(part, same[name]) for name, part in weights.items())


def test_the_learning_rate_rises_and_falls():
    rates = [learning_rate(step, 100, 0.003) for step in range(100)]
    assert rates[9] == pytest.approx(0.003)
    assert rates[:10] == pytest.approx([0.0003 * (step + 1) for step in range(10)])
    assert rates[55] == pytest.approx(0.0015)
    assert 0 < rates[-1] < 1e-5
    assert learning_rate(0, 1, 0.003) == 0.003


def published(tmp_path, change=lambda _: None):
    state = noisy(Fusion(6, 4, 4.0)).state_dict()
    change(state)
    path = tmp_path / "fusion.pth"
    torch.save({"model": state, "epoch": 3}, path)
    return path


def test_published_weights_are_read(tmp_path):
    path = published(tmp_path)
    found, wanted = load_fusion(path, 6, 4, CPU).state_dict(), noisy(Fusion(6, 4, 4.0)).state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(part, wanted[name]) for name, part in found.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("xyz_mlp.fc1.weight"), "'xyz_mlp.fc1.weight' is missing or no matrix"),
        (lambda state: state.pop("rgb_head.bias"), r"'rgb_head.bias' is missing, expected \(256,\)"),
        (
            lambda state: state.update({"rgb_norm.weight": torch.ones(7)}),
            r"'rgb_norm.weight' is \(7,\), expected \(4,\)",
        ),
    ],
)
def test_other_files_are_refused(tmp_path, change, message):
    path = published(tmp_path, change)
    with pytest.raises(InputError, match=message) as error:
        load_fusion(path, 6, 4, CPU)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
