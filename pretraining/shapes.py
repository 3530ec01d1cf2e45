"""Shapes that the project's own small CLIP is pre-trained on, as height fields like the generated data sets'.

No family is a category of a data set, and each varies so widely that two draws hardly look alike, plain and rich in
structure of its own (teeth, rivets, weaves, pits, steps), so that what is learned is not that whatever is not smooth
is unusual. `WORDS` is what families are called in texts.
"""

from __future__ import annotations

import numpy as np

from pointad_core.datasets.generator.shapes import Array, Form, Random, Shape, place_shape, waves
from pretraining.families_flat import (
    board,
    bracket,
    cushion,
    honeycomb,
    keypad,
    mat,
    paving,
    radiator,
    riveted,
    terraces,
)
from pretraining.families_free import beads, berries, figure, hose, leaf, pebble, rope
from pretraining.families_round import bowl, coin, gear, lid, propeller, wheel
from pretraining.families_turned import fitting
from pretraining.parts import pick

LEAST_HEIGHT = 0.06
"""Of a shape above the ground, so that defects have something to take away."""

REACH = 1.15
"""From the middle, before a shape is placed."""


def make_pretraining_shape(rng: Random, family: str | None = None) -> tuple[str, Shape]:
    """A shape of a family, or of one drawn at random: the family's name and the shape."""
    if family is None:
        family = list(FAMILIES)[int(rng.integers(len(FAMILIES)))]
    return family, place_shape(varied(FAMILIES[family]), rng)


def varied(form: Form) -> Form:
    """A form squeezed, flattened or heightened and roughened at random."""

    def vary(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
        size = rng.uniform(0.88, 1)
        squeeze = pick(rng, 1, rng.uniform(0.7, 1))
        height, colour = form(x / np.float32(size), y / np.float32(size * squeeze), rng)
        # Nothing may touch the border of the grid.
        inside = (height > 0) & (x * x + y * y < REACH**2)
        height = height * np.float32(size * rng.uniform(0.6, 1.35))
        if rng.random() < 0.35:
            height = height + rng.uniform(0.002, 0.008) * waves(x, y, rng, rng.uniform(15, 60), 3)
        return np.where(inside, np.maximum(height, LEAST_HEIGHT), 0).astype(np.float32), colour

    return vary


FAMILIES: dict[str, Form] = {
    "pebble": pebble,
    "cushion": cushion,
    "lid": lid,
    "gear": gear,
    "wheel": wheel,
    "bracket": bracket,
    "riveted plate": riveted,
    "mat": mat,
    "hose": hose,
    "beads": beads,
    "leaf": leaf,
    "paving": paving,
    "keypad": keypad,
    "coin": coin,
    "rope": rope,
    "honeycomb": honeycomb,
    "terraces": terraces,
    "berries": berries,
    "bowl": bowl,
    "radiator": radiator,
    "board": board,
    "propeller": propeller,
    "figure": figure,
    "fitting": fitting,
}

WORDS: dict[str, tuple[str, ...]] = {
    "pebble": ("pebble", "stone", "potato", "lump"),
    "cushion": ("cushion", "pillow", "pad"),
    "lid": ("lid", "knob", "vase", "turned part"),
    "gear": ("gear", "toothed wheel", "cog"),
    "wheel": ("wheel", "tyre", "spoked wheel"),
    "bracket": ("bracket", "machined part", "metal part"),
    "riveted plate": ("riveted plate", "plate with screws", "panel"),
    "mat": ("mat", "woven mat", "waffle", "textured slab"),
    "hose": ("hose", "ribbed tube", "pipe", "spring"),
    "beads": ("beads", "necklace", "chain"),
    "leaf": ("leaf", "feather", "leaf with veins"),
    "paving": ("paving", "brick wall", "tiles"),
    "keypad": ("keypad", "keyboard", "remote control"),
    "coin": ("coin", "medal", "badge"),
    "rope": ("rope", "braid", "cord"),
    "honeycomb": ("honeycomb", "comb", "hexagon tiles"),
    "terraces": ("terraces", "steps", "stairs"),
    "berries": ("berries", "raspberry", "cluster of balls", "heap of grains"),
    "bowl": ("bowl", "dish", "cup", "tray"),
    "radiator": ("radiator", "heat sink", "cooling fins"),
    "board": ("board", "circuit board", "electronic part"),
    "propeller": ("propeller", "fan", "turbine"),
    "figure": ("figure", "toy", "casting"),
    "fitting": ("fitting", "bolt", "nozzle", "valve"),
}
"""What a family's shapes are called."""
