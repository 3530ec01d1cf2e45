"""What the small CLIP is told about a view: wordings of "normal" and "damaged", of kinds of defects and of names.

Whoever scores uses other words than these only in part: the wordings, the templates around them and the names are
mixed at random, so that the direction from normal to damaged hangs on no single one.
"""

from __future__ import annotations

import numpy as np

from pretraining.defects import DEFECT_WORDS
from pretraining.shapes import WORDS

NORMAL = ("normal", "flawless", "intact", "undamaged", "perfect", "good", "faultless", "unbroken", "regular", "clean")
DAMAGED = ("damaged", "anomalous", "defective", "abnormal", "flawed", "faulty", "broken", "bad", "spoilt", "impaired")
WITHOUT = ("without defect", "without any damage", "without flaw", "in good condition", "with no anomaly")
WITH = ("with a defect", "with damage", "with a flaw", "in bad condition", "with an anomaly")

TEMPLATES = (
    "{}.",
    "{}",
    "a photo of a {}",
    "A photo of a {}",
    "a photo of the {}",
    "a close-up of a {}",
    "a render of a {}",
    "a grey picture of a {}",
    "a scan of a {}",
    "a view of one {}",
    "there is a {} in the picture",
    "the surface of a {}",
    "a depth map of a {}",
    "a point cloud of a {}",
)

GENERAL = ("object", "point cloud", "thing", "part", "item", "product", "piece", "shape", "surface", "sample", "scan")
"""Names that fit everything; the learned prompts' texts are about an "object" and a "point cloud"."""

_SYLLABLES = ("ba", "den", "ko", "lim", "ra", "sto", "ti", "ver", "mu", "pel", "gan", "cho", "fer", "nod", "qui", "wex")


def name_of(family: str, rng: np.random.Generator) -> tuple[str, bool]:
    """A name for a thing of this family, and whether it is its own: otherwise a general one, or a word that means
    nothing. Names that nobody has heard must leave "normal" and "damaged" as they are."""
    kind = rng.random()
    if kind < 0.4:
        return str(rng.choice(WORDS[family])), True
    if kind < 0.75:
        return str(rng.choice(GENERAL)), False
    words = ["".join(rng.choice(_SYLLABLES, int(rng.integers(1, 4)))) for _ in range(int(rng.integers(1, 3)))]
    return " ".join(words), False


def state_pair(name: str, rng: np.random.Generator) -> tuple[str, str]:
    """The same sentence about a normal and about a damaged thing."""
    template = str(rng.choice(TEMPLATES))
    kind = rng.random()
    if kind < 0.25:
        # What the learned prompts begin with: nothing is said of a normal thing.
        return template.format(name), template.format(f"{rng.choice(DAMAGED)} {name}")
    if kind < 0.75:
        return template.format(f"{rng.choice(NORMAL)} {name}"), template.format(f"{rng.choice(DAMAGED)} {name}")
    return template.format(f"{name} {rng.choice(WITHOUT)}"), template.format(f"{name} {rng.choice(WITH)}")


def kind_texts(rng: np.random.Generator) -> list[str]:
    """One wording of every kind of defect, in the order of DEFECT_WORDS."""
    template = str(rng.choice(("{}", "{}.", "a photo of {}", "a region with {}", "an object with {}")))
    return [template.format(str(rng.choice(words))) for words in DEFECT_WORDS.values()]


def family_texts(rng: np.random.Generator) -> list[str]:
    """One sentence about every family, in the order of WORDS."""
    template = str(rng.choice(TEMPLATES))
    return [template.format(str(rng.choice(names))) for names in WORDS.values()]


def corpus() -> list[str]:
    """Every word that stands above, for the tokenizer's vocabulary; sentences in a fixed order."""
    names = [name for group in WORDS.values() for name in group]
    wordings = [wording for group in DEFECT_WORDS.values() for wording in group]
    sentences = [template.format(name) for name in (*GENERAL, *names) for template in TEMPLATES]
    sentences += [f"{word} {name}" for word in (*NORMAL, *DAMAGED) for name in GENERAL]
    return [*sentences, *wordings * 10, *WITHOUT * 20, *WITH * 20, *_SYLLABLES]
