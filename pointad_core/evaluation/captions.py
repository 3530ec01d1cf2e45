"""What a table's caption says of the data and of the weights behind it, in words."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pointad_core.evaluation.latex import escape

BATCH = "batch zero-shot"
"""The setting of systems that score a scan by the other test scans of its category."""


def describe_batch(labels: Iterable[str]) -> str | None:
    """In which setting the systems with these labels stand, in plain text; None where there are none."""
    if not (told := ", ".join(labels)):
        return None
    return (
        f"{BATCH.capitalize()}: {told}. They score a scan by the other test scans of its category, whose labels they "
        "do not see, and are not ranked among the others; none of them is the paper's."
    )


def describe_data(entry: Mapping[str, Any]) -> str:
    """Where a data set comes from, by its entry: `generated` (scans and seed) or `published`, or neither."""
    if generated := entry.get("generated"):
        return f"generated ({generated['scans']} scans a category, seed {generated['seed']}), not the published data"
    return "the published data" if entry.get("published") else "the user's own data"


def weights(features: Mapping[str, Any]) -> str | None:
    """Where the weights of an entry of features come from; None for random ones, which were never trained."""
    if checkpoint := features.get("checkpoint"):
        return f"weights from checkpoint {Path(checkpoint).name}"
    return f"pretrained weights {features['pretrained']}" if features.get("pretrained") else None


def _describe_clip(features: Mapping[str, Any]) -> str:
    random = f"random weights drawn from seed {features.get('random_seed')}, never trained"
    return f"{features['model']} ({weights(features) or random})"


def describe_backbone(method: Mapping[str, Any], features: Mapping[str, Any]) -> str:
    """The network behind a method, by its entry and the entries of features."""
    clip = _describe_clip(features[method["features"]])
    if "network" in method:
        return _describe_networks(method, clip)
    if "pointnet" not in method:
        return clip
    network, words = method["pointnet"], method.get("word_vectors")
    weights = f"weights from {Path(network).name}" if network else "trained on the auxiliary class"
    vectors = f"word vectors of {Path(words).name}" if words else f"the token embeddings of {clip} as word vectors"
    return f"PointNet {weights}, {vectors}"


def _describe_networks(method: Mapping[str, Any], clip: str) -> str:
    """What an unsupervised system reads scans with, and whether that is what was published."""
    network = method["network"]
    photographs = f"photographs by {Path(network).name if network else clip}"
    if "point_mae" not in method:
        return photographs if network else f"{photographs}, not by its published network"
    points, fusion = method["point_mae"], method["fusion"]
    told = [
        f"Point-MAE with weights from {Path(points).name}"
        if points
        else "Point-MAE with random weights, never trained",
        photographs,
        f"fusion with weights from {Path(fusion).name}" if fusion else "fusion learnt from each category",
    ]
    return ", ".join(told) + ("" if points and network else ", which is not M3DM's published network")


def gather(described: Iterable[tuple[str, str]]) -> str:
    """Pairs (label, description) as text, labels with the same description together."""
    return escape("; ".join(f"{', '.join(names)}: {description}" for description, names in _group(described).items()))


def _group(described: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    labels: dict[str, list[str]] = {}
    for label, description in described:
        labels.setdefault(description, []).append(label)
    return labels


def warn(
    columns: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any]]],
    methods: Iterable[Mapping[str, Any]],
    features: Mapping[str, Mapping[str, Any]],
) -> str | None:
    """Which numbers of a table are no results on published data, by column and row, and why; None where all may be.

    columns: by the label of each the entries of the data sets that were trained and tested on; methods: its rows.
    """
    causes = []
    for label, source, target in columns:
        if target.get("generated"):
            causes.append((label, "generated scans"))
        elif source.get("generated"):
            causes.append((label, "prompts learnt on generated scans"))
    for method in methods:
        if not (method.get("word_vectors") or weights(features[method["features"]])):
            causes.append((method["label"], "untrained weights"))
    told = "; ".join(f"{', '.join(labels)} ({cause})" for cause, labels in _group(causes).items())
    return escape(f"No results on the published data sets: {told}.") if told else None
