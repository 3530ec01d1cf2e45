"""The paper's figures of score maps as pages of a journal print them (Figures 5-9): a grid of images and maps.

A figure is as wide as the text of a page, no letter in it is smaller than 7 points, and what has no point is white.
The range of a map's colours reaches over this map alone, over its line, or over the figure; who reads the picture is
told which by its caption, and by the numbers at the scale that the maps of one range share.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pointad_core.evaluation.captions import describe_backbone, describe_batch
from pointad_core.evaluation.latex import escape
from pointad_core.evaluation.metrics import curve_area
from pointad_core.evaluation.pictures import LABELS, find_limits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 7.0
"""Of a figure in inches: of the text on a page."""
FONT = 7.0
"""Size of all letters in points."""
DPI = 300
LARGEST = 1.3
"""Side of a panel in inches at most, where few stand side by side."""
LEFT, RIGHT, GAP = 0.95, 0.44, 0.05
"""Room in inches for the lines' names at most and for the scales, and between panels."""

_LETTER = FONT / 72 * 0.56
"""Width of a letter in inches, on average."""
_LINE = FONT / 72 * 1.25

Scope = Literal["map", "line", "figure"]
Panel = np.ndarray | str | None
"""An image u8 [h, w] or [h, w, 3], a map float [h, w] with NaN where nothing is, a word in place of one, or nothing."""


@dataclass(frozen=True)
class Line:
    """Panels from left to right after their name."""

    name: str
    panels: Sequence[Panel]


def is_map(panel: Panel) -> bool:
    return isinstance(panel, np.ndarray) and panel.dtype.kind == "f"


def find_ranges(lines: Sequence[Line], scope: Scope) -> list[list[tuple[float, float] | None]]:
    """The range of the colours of every panel, None of what is no map."""
    keys = [
        [None if not is_map(panel) else {"map": (i, k), "line": i, "figure": 0}[scope]
         for k, panel in enumerate(line.panels)]
        for i, line in enumerate(lines)
    ]  # fmt: skip
    members: dict[object, list[np.ndarray]] = {}
    for line, of_line in zip(lines, keys, strict=True):
        for panel, key in zip(line.panels, of_line, strict=True):
            if isinstance(panel, np.ndarray) and key is not None:
                members.setdefault(key, []).append(panel)
    ranges = {key: find_limits(maps) for key, maps in members.items()}
    return [[None if key is None else ranges[key] for key in of_line] for of_line in keys]


def to_colours(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Colours u8 [h, w, 3] of a map float [h, w]: turbo from `low` to `high`, white where it is NaN."""
    from matplotlib import colormaps

    share = np.clip((np.nan_to_num(values, nan=low) - low) / (high - low), 0, 1)
    colours = colormaps["turbo"](share, bytes=True)[..., :3].copy()
    colours[np.isnan(values)] = 255
    return colours


def draw_figure(
    lines: Sequence[Line], heads: Sequence[str], groups: Sequence[tuple[str, int]] = (), scope: Scope = "line"
) -> Figure:
    """Draw lines of panels; heads: a name over each column; groups: what stands over so many columns from the left.

    scope: what shares one range of colours. Panels are square, maps and images centred in them.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    names = [_wrap(line.name, LEFT - 0.1) for line in lines]
    margin = 0.1 + _LETTER * max(len(part) for name in names for part in name.split("\n"))
    side = min(LARGEST, (WIDTH - margin - RIGHT) / len(heads) - GAP)
    step = side + GAP
    wrapped = [_wrap(head, step) for head in heads]
    spans = [_wrap(text, step * count - 0.1) for text, count in groups]
    # From the top: the groups and a rule under them, the columns' names, the lines.
    top_groups = max((text.count("\n") + 1 for text in spans), default=0) * _LINE + (0.08 if spans else 0)
    top = top_groups + max(text.count("\n") + 1 for text in wrapped) * _LINE + 0.06
    height = top + step * len(lines)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
    # A row of few panels stands in the middle of the page.
    left = (WIDTH - step * len(heads) + GAP + margin - RIGHT) / 2

    def write(x: float, y: float, text: str, **how: Any) -> None:
        # Names of scans and labels are text, not formulas, whatever dollars they have.
        figure.text(x / WIDTH, 1 - y / height, text, fontsize=FONT, parse_math=False, linespacing=1.1, **how)

    for column, head in enumerate(wrapped):
        write(left + column * step + side / 2, top - 0.04, head, ha="center", va="bottom")
    first = 0
    for text, (_, count) in zip(spans, groups, strict=True):
        x, width = left + first * step, count * step - GAP
        write(x + width / 2, top_groups - 0.07, text, ha="center", va="bottom")
        ends = [x / WIDTH, (x + width) / WIDTH], [1 - top_groups / height] * 2
        figure.add_artist(Line2D(*ends, linewidth=0.5, color="black"))
        first += count
    ranges = find_ranges(lines, scope)
    for row, line in enumerate(lines):
        y = top + row * step
        write(left - 0.07, y + side / 2, names[row], ha="right", va="center")
        for column, panel in enumerate(line.panels):
            box = ((left + column * step) / WIDTH, 1 - (y + side) / height, side / WIDTH, side / height)
            if isinstance(panel, str):
                write(left + column * step + side / 2, y + side / 2, panel, ha="center", va="center")
            elif panel is not None:
                axes = figure.add_axes(box, xticks=[], yticks=[], frame_on=False)
                limits = ranges[row][column]
                shown = panel if limits is None else to_colours(panel, *limits)
                axes.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
        # Numbers stand at a scale that all maps beside it share.
        shared = {limits for limits in ranges[row] if limits is not None}
        if shared and not (scope == "figure" and any(map(any, ranges[:row]))):
            limits = shared.pop() if scope != "map" else None
            _draw_scale(figure, left + len(heads) * step + 0.02, y, side, height, limits)
    return figure


def _wrap(text: str, width: float) -> str:
    """Text in lines of at most so many inches, broken between words and after hyphens."""
    wrapper = textwrap.TextWrapper(max(1, int(width / _LETTER)), break_long_words=False)
    # By itself it breaks after hyphens between letters alone, and not after that of "PointAD+-CoOp".
    wrapper.wordsep_re = re.compile(r"(\s+)|(?<=\S-)(?=[^\W\d])")
    return "\n".join(wrapper.wrap(text))


def _draw_scale(
    figure: Figure, x: float, y: float, side: float, height: float, limits: tuple[float, float] | None
) -> None:
    """The colours from low to high beside a line, with the numbers of its range where there is one."""
    axes = figure.add_axes((x / WIDTH, 1 - (y + side) / height, 0.07 / WIDTH, side / height), frame_on=False)
    low, high = limits or (0.0, 1.0)
    axes.imshow(to_colours(np.linspace(1, 0, 128)[:, None], 0, 1), aspect="auto", extent=(0, 1, 0, 1))
    axes.set(xticks=[], yticks=[])
    numbers = [_tell(end, high - low) for end in (low, high)] if limits else ["low", "high"]
    for place, number, stands in zip((0, 1), numbers, ("bottom", "top"), strict=True):
        axes.text(1.4, place, number, fontsize=FONT, va=stands)


def _tell(value: float, extent: float) -> str:
    """A number of a range, in few letters, as exact as the range's extent asks for."""
    if extent >= 0.005:
        return f"{value:.{2 if extent >= 0.05 else 3}f}"
    return f"{value:.0e}".replace("e-0", "e-").replace("0e+00", "0")


def write_pdf(figure: Figure, path: Path) -> None:
    """Write a figure as PDF; the same figure gives the same bytes."""
    from matplotlib import rc_context

    # Letters as TrueType, which publishers ask for, instead of as Type 3; no date and no versions.
    with rc_context({"pdf.fonttype": 42}):
        figure.savefig(path, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})


# What is said of a figure ---------------------------------------------------------------------------------------------


def scan_auroc(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """P-AUROC of one scan: of its points' scores [n] and labels [n]; None where all are good or all defective."""
    defective = labels > 0
    if defective.all() or not defective.any():
        return None
    return curve_area(scores[~defective], scores[defective])


def name_map(word: str) -> str:
    """A map's word in the config as a figure writes it."""
    return {**LABELS, "rgb": "RGB"}.get(word, word)


_SCOPES = {"map": "each map has its own range", "line": "the maps of a line share one range",
           "figure": "all maps share one range"}  # fmt: skip


def caption_of(figure: Mapping[str, Any]) -> str:
    """What a figure shows, in plain text: its own caption, colours, prompts, how scans were chosen, the networks
    and the data.

    figure: as `stages.figures.make_figure` takes it.
    """
    said = [figure["caption"]] if figure["caption"] else []
    said.append(
        "Scores of points from low (blue) to high (red), white where there is no point; defects are red in the ground "
        f"truth. Of the colours {_SCOPES[figure['colours']]}, from the 1st to the 99.9th percentile of its scores."
    )
    if learnt := list(dict.fromkeys(group["learnt"] for group in figure["groups"] if group["learnt"])):
        said.append(f"Prompts learnt on {'; '.join(learnt)}.")
    rules = list(dict.fromkeys(_name_rule(group["rule"], len(figure["maps"])) for group in figure["groups"]))
    said.append(f"Scans: {'; '.join(rules)}.")
    networks = (describe_backbone(method, figure["features"]) for method in figure["methods"].values())
    said.append(f"Backbone: {'; '.join(dict.fromkeys(networks))}.")
    looks = [look for group in figure["groups"] for category in group["categories"] for look in category["looks"]]
    titles = dict.fromkeys(look["title"] for look in looks if figure["methods"][look["method"]].get("batch"))
    if batch := describe_batch(titles):
        said.append(batch)
    if figure["generated"]:
        said.append(f"Generated data ({', '.join(figure['generated'])}), no results of the paper.")
    return " ".join(said)


def _name_rule(rule: Mapping[str, Any], n_maps: int) -> str:
    if "better" in rule:
        return (
            f"those whose P-AUROC with the {rule['better']} map exceeds that with the {rule['than']} map most, "
            "of each category one before a second"
        )
    mean = " (the mean over the maps shown)" if n_maps > 1 else ""
    return {
        "first": "of each category the first defective one of each kind of defect",
        "median": f"of each category the defective ones nearest to its median P-AUROC{mean}",
        "named": "as named in the config",
    }[rule["pick"]]


def float_tex(name: str, caption: str) -> str:
    """A LaTeX float of a figure across the page, to include beside its PDF after loading graphicx."""
    return "\n".join(
        [
            r"\begin{figure*}[t]",
            r"\centering",
            # As wide as it is, so that its letters have their size; shrunk where the text is narrower.
            rf"\resizebox{{\ifdim\width>\linewidth\linewidth\else\width\fi}}{{!}}{{\includegraphics{{{name}.pdf}}}}",
            rf"\caption{{{escape(caption)}}}",
            rf"\label{{fig:{name}}}",
            r"\end{figure*}",
            "",
        ]
    )
