"""Cheraghian: losses, scores and training of the network, with token embeddings and with word vectors."""

import cases
import numpy as np
import pytest
import torch
from cases import CPU, TAU, values
from safetensors.torch import save_file
from toy import write_toy

from pointad_core.clip.loading import load_clip
from pointad_core.clouds.subsets import random_subset
from pointad_core.errors import InputError
from pointad_core.methods import cheraghian, pointnet
from pointad_core.methods.cheraghian import words_of
from pointad_core.methods.interface import Settings
from pointad_core.methods.registry import SYSTEMS
from pointad_core.methods.segmentation import PointSample
from pointad_core.methods.targets import PointTargets
from pointad_core.storage import stores
from pointad_core.storage.prompt_files import read_prompts

MODEL = {"model": "pointad-pocket", "random_seed": 1, "vv_blocks": 1}


@pytest.fixture
def words(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "words.txt"
    lines = [f"{word} {' '.join(map(str, rng.normal(size=20)))}" for word in ("toy", "other", "thing", "damaged")]
    path.write_text("\n".join([f"{len(lines)} 20", *lines]) + "\n")
    return path


def random_case(seed, n=300):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(n, 3, generator=generator)
    state = {"text": torch.rand(2, 1024, generator=generator).requires_grad_(), **pointnet.first_weights(generator)}
    return PointSample(points), (points[:, 0] > 1).float(), state


def naive_logits(state, features):
    """Difference of two cosines over tau, a point at a time."""
    normal, abnormal = (text / text.norm() for text in state["text"].double())
    return torch.stack([(f / f.norm()) @ abnormal - (f / f.norm()) @ normal for f in features.double()]) / TAU


def test_losses_are_means_over_both_kinds_of_points():
    sample, labels, state = random_case(1)
    terms = values(cheraghian.loss_terms(state, sample, PointTargets(torch.tensor(True), labels), Settings()))
    features = pointnet.point_features(state, pointnet.normalise(sample.points)).double()
    probabilities = torch.sigmoid(naive_logits(state, features)).clamp(1e-12, 1 - 1e-12)
    alignment, own = [[], []], [[], []]
    for feature, p, y in zip(features, probabilities, labels.int(), strict=True):
        alignment[y].append(((feature - state["text"][y].double()) ** 2).mean())
        own[y].append(-torch.log(p if y else 1 - p))
    for name, parts in (("alignment", alignment), ("points", own)):
        wanted = sum(sum(part) / len(part) for part in parts) / 2
        assert terms[name].item() == pytest.approx(wanted.item(), rel=1e-4), name


def test_each_loss_trains_its_own_part():
    sample, labels, state = random_case(2)
    for name in pointnet.first_weights(torch.Generator()):
        state[name].requires_grad_()
    terms = values(cheraghian.loss_terms(state, sample, PointTargets(torch.tensor(True), labels), Settings()))
    weights = [state["text"], state["0.weight"]]
    text, points = torch.autograd.grad(terms["alignment"], weights, allow_unused=True, retain_graph=True)
    assert text is not None
    assert points is None
    text, points = torch.autograd.grad(terms["points"], weights, allow_unused=True)
    assert text is None
    assert points.abs().sum() > 0


def test_a_cloud_without_defects_has_one_kind():
    sample, labels, state = random_case(3)
    terms = values(cheraghian.loss_terms(state, sample, PointTargets(torch.tensor(False), 0 * labels), Settings()))
    features = pointnet.point_features(state, pointnet.normalise(sample.points))
    assert terms["alignment"].item() == pytest.approx((features - state["text"][0]).square().mean().item(), rel=1e-5)


def test_scores_of_points_and_clouds():
    sample, _, state = random_case(4)
    got = cheraghian.point_scores(state, sample, Settings())
    features = pointnet.point_features(state, pointnet.normalise(sample.points))
    np.testing.assert_allclose(got.detach(), torch.sigmoid(naive_logits(state, features)).detach(), atol=1e-5)
    whole = torch.stack([max(column) for column in features.T])
    wanted = torch.sigmoid(naive_logits(state, whole[None]))[0]
    assert cheraghian.global_score(state, sample, Settings()).item() == pytest.approx(wanted.item(), abs=1e-5)


def test_points_beyond_the_bound_take_their_nearest_representatives_score():
    sample, _, state = random_case(5, n=cheraghian.POINTS + 500)
    scores = cheraghian.point_scores(state, sample, Settings()).detach().numpy()
    assert len(scores) == cheraghian.POINTS + 500
    assert len(np.unique(scores)) <= cheraghian.POINTS
    chosen = random_subset(len(scores), cheraghian.POINTS).numpy()
    points = sample.points.double().numpy()
    nearest = np.linalg.norm(points[:, None] - points[None, chosen], axis=2).argmin(1)
    np.testing.assert_array_equal(scores, scores[chosen][nearest])


def test_texts_are_the_category_and_its_mean_with_damaged(words):
    table = {line.split()[0]: np.array(line.split()[1:], float) for line in words.read_text().splitlines()[1:]}
    embed = cheraghian.embedder(Settings(word_vectors=str(words)), MODEL, CPU)
    own = (table["other"] + table["thing"]) / 2
    np.testing.assert_allclose(embed("other thing"), np.stack([own, (own + table["damaged"]) / 2]), rtol=1e-5)


@pytest.fixture
def embed(tmp_path):
    """A name's own vector, from a file or, without one, of CLIP's token embeddings."""
    path = tmp_path / "vectors.txt"
    path.write_text("3 3\ncable 1.0 0.0 2.5\ngland 0.0 -4.0 0.001\ndamaged 3.0 3.0 3.0\n", encoding="utf-8")

    def own(name, with_file=True):
        settings = Settings(word_vectors=str(path) if with_file else None)
        return cheraghian.embedder(settings, {**MODEL, "random_seed": 3}, CPU)(name)[0]

    return own


def test_words_of_a_name():
    words = ["cable", "gland"]
    assert words_of("cable gland") == words_of("Cable_Gland") == words_of(" cable-gland ") == words


def test_a_name_has_the_mean_of_its_words(embed):
    np.testing.assert_allclose(embed("cable gland"), [0.5, -2.0, 1.2505], rtol=1e-6)
    np.testing.assert_allclose(embed("damaged"), [3, 3, 3])


def test_a_name_without_words_or_with_unknown_ones_is_refused(embed):
    with pytest.raises(InputError, match=r"vectors.txt: has no vector of the word 'rope'"):
        embed("cable rope")
    with pytest.raises(InputError, match="no word"):
        embed("_")


def test_token_embeddings_stand_for_words(embed):
    clip = load_clip("pointad-pocket", 1, random_seed=3)
    table = clip.text.token_embedding.weight
    start, wheel, part, end = clip.tokenize(["wheel part"])[0, :4].tolist()
    assert (start, end) == (1022, 1023)
    torch.testing.assert_close(embed("Wheel_part", with_file=False), (table[wheel] + table[part]) / 2)
    with pytest.raises(InputError, match="no word"):
        embed("_", with_file=False)


def test_structure_of_the_projector():
    found = [tuple(part.weight.shape) for part in cheraghian.projector(300) if isinstance(part, torch.nn.Linear)]
    assert found == [(512, 300), (768, 512), (1024, 768)]
    assert [type(part).__name__ for part in cheraghian.projector(300)] == ["Linear", "BatchNorm1d", "ReLU"] * 3


def train(toy, folder, options, seed=1):
    inputs = {"clouds": toy.clouds}  # neither renders nor features
    prompts, curve = cases.learn("cheraghian", inputs, folder / "p.safetensors", options, "toy", seed, MODEL)
    return prompts, [float(line.rsplit(",", 1)[1]) for line in curve.read_text().splitlines()[1:]]


def score(toy, prompts, output, options, display="other thing"):
    entry = {"name": toy.name, "display": display, "clouds": str(toy.clouds)}
    cases.score("cheraghian", prompts, [entry], output, options, MODEL)


@pytest.mark.parametrize("with_file", [True, False])
@pytest.mark.parametrize("organised", [True, False])
def test_training_and_scoring(tmp_path, words, with_file, organised):
    torch.set_num_threads(1)
    toy = write_toy(tmp_path, n_scans=4, organised=organised)
    options = {"epochs": 5, "batch_size": 2, "learning_rate": 1e-3, "word_vectors": str(words) if with_file else None}
    prompts, totals = train(toy, tmp_path, options)
    assert len(totals) == 10
    assert sum(totals[-2:]) < sum(totals[:2])
    length, kept = 20 if with_file else 64, read_prompts(prompts)
    assert kept["projector.0.weight"].shape == (512, length)
    assert kept["projector.1.num_batches_tracked"] == 10  # the network is run once a step, and at no other time
    output = tmp_path / "scores.zarr.zip"
    score(toy, prompts, output, options)
    names = ["map_3d"] if organised else ["points_3d", "original_3d"]
    with stores.read(output, "scores") as reader:
        assert len(reader.scans) == 4
        for scan in reader.scans:
            assert reader.arrays(scan) == sorted(names)
            assert "object_m3d" not in reader.scan_attributes(scan)
            assert all(np.isfinite(array).all() for array in reader.load(scan, names).values())

    again = tmp_path / "again"
    again.mkdir()
    repeated, _ = train(toy, again, options)
    assert repeated.read_bytes() == prompts.read_bytes()


def test_a_given_pointnet_is_frozen(tmp_path, words):
    toy = write_toy(tmp_path, n_scans=4)
    weights = pointnet.first_weights(torch.Generator().manual_seed(9))
    save_file(weights, tmp_path / "pointnet.safetensors")
    options = {"epochs": 2, "word_vectors": str(words)}
    prompts, _ = train(toy, tmp_path, {**options, "pointnet": str(tmp_path / "pointnet.safetensors")})
    kept = read_prompts(prompts)
    assert all(torch.equal(kept[f"pointnet.{name}"], part) for name, part in weights.items())
    prompts, _ = train(toy, tmp_path, options)
    moved = read_prompts(prompts)
    assert not torch.equal(moved["pointnet.0.weight"], kept["pointnet.0.weight"])


def test_losses_that_leave_the_network_of_the_texts_untouched_are_refused(tmp_path, words):
    """With a PointNet that is given, what remains has nothing to learn at all."""
    toy = write_toy(tmp_path, n_scans=2)
    save_file(pointnet.first_weights(torch.Generator()), tmp_path / "pointnet.safetensors")
    options = {"epochs": 1, "word_vectors": str(words), "loss_weights": {"alignment": 0}}
    for given in ({}, {"pointnet": str(tmp_path / "pointnet.safetensors")}):
        with pytest.raises(InputError, match="the losses points leave a part of what scores at its start"):
            train(toy, tmp_path, {**options, **given})
    assert not (tmp_path / "p.safetensors").exists()


def test_a_word_without_vector_leaves_nothing_behind(tmp_path, words):
    toy = write_toy(tmp_path, n_scans=4)
    options = {"epochs": 1, "word_vectors": str(words)}
    prompts, _ = train(toy, tmp_path, options)
    output = tmp_path / "scores.zarr.zip"
    with pytest.raises(InputError, match=r"words.txt: has no vector of the word 'bagel'"):
        score(toy, prompts, output, options, display="bagel")
    assert not output.exists()
    with pytest.raises(InputError, match="'damaged'"):
        words.write_text("1 20\ntoy " + " 1" * 20 + "\n")
        train(toy, tmp_path, options)


def test_vectors_of_another_length_are_refused(tmp_path, words):
    toy = write_toy(tmp_path, n_scans=4)
    prompts, _ = train(toy, tmp_path, {"epochs": 1, "word_vectors": str(words)})
    with pytest.raises(InputError, match="does not fit word vectors of 64 numbers"):
        score(toy, prompts, tmp_path / "scores.zarr.zip", {})


def test_the_system_reads_clouds_alone():
    entry = SYSTEMS["cheraghian"]
    assert (entry.trained, entry.stream, entry.rgb, entry.compared_across) == (True, None, False, False)
