"""A picture of a scan's scores, without a plotting library, which would take longer to start than the drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pointad_core.evaluation.pictures import DEPTH, carry_to_image, find_silhouette
from pointad_core.predict.predictor import Prediction

if TYPE_CHECKING:
    from PIL.Image import Image

COLOURS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float64)
"""Dark blue over green to yellow, in even steps to the eye: low to high."""
MOST_VIEWS = 3
BAR = 26
"""Height in pixels of the line of text and of the colour scale."""


def to_colours(scores: np.ndarray, low: float, high: float) -> np.ndarray:
    """Colours u1 [...,3] of scores, from low to high; NaN is the lowest colour."""
    share = np.clip((np.nan_to_num(scores, nan=low) - low) / (high - low), 0, 1) * (len(COLOURS) - 1)
    step = np.minimum(share.astype(np.intp), len(COLOURS) - 2)
    rest = (share - step)[..., None]
    return np.rint(COLOURS[step] * (1 - rest) + COLOURS[step + 1] * rest).astype(np.uint8)


def choose_views(found: Prediction) -> list[int]:
    """The frontal view, or of a scan that is looked at from all round the front and two more, a third round apart; of
    them the one that shows the highest score comes first."""
    names = found.view_names
    if found.seen.renders is None:
        return []
    count = sum(not name.endswith(DEPTH) for name in names)  # shaded ones
    front = names.index("0° about x") if "0° about x" in names else 0
    if found.kind == "front":
        return [front]
    return sorted({(front + step * count // MOST_VIEWS) % count for step in range(MOST_VIEWS)})


def draw_picture(found: Prediction) -> Image:
    """Of each chosen view the shaded image above and the scores below, and the photograph beside; text and scale."""
    from PIL import Image, ImageDraw

    low, high = found.colour_range
    of_views = _points_of_views(found)
    columns = []
    for view in choose_views(found):
        renders = found.seen.renders
        assert renders is not None
        image, pixels, visible = renders.images[view], renders.pixels[view].astype(np.intp), renders.visible[view]
        carried = carry_to_image(of_views.astype(np.float64), pixels, visible, find_silhouette(image, pixels, visible))
        shown = np.where(np.isfinite(carried)[..., None], to_colours(carried, low, high), 255).astype(np.uint8)
        columns.append(np.concatenate([np.repeat(image[..., None], 3, axis=2), shown]))
    side = columns[0].shape[1] if columns else 336
    if found.scan.photograph is not None:
        photograph = Image.fromarray(found.scan.photograph)
        photograph.thumbnail((side, side))
        column = np.full((2 * side, side, 3), 255, np.uint8)
        column[: photograph.height, : photograph.width] = np.asarray(photograph)
        columns.append(column)
    width = max(side * max(1, len(columns)), 480)
    sheet = Image.new("RGB", (width, 2 * BAR + (2 * side if columns else 0)), "white")
    for number, column in enumerate(columns):
        sheet.paste(Image.fromarray(column), (number * side, BAR))
    draw = ImageDraw.Draw(sheet)
    text = f"{found.scan.path.name}   object score {found.object:.4f}, {found.decision}"
    # Pillow's own font has no signs beyond Latin.
    draw.text((8, 7), text.encode("latin-1", "replace").decode("latin-1"), fill="black")
    scale = to_colours(np.linspace(low, high, 200), low, high)
    sheet.paste(Image.fromarray(np.repeat(scale[None], 12, axis=0)), (70, sheet.height - 19))
    draw.text((8, sheet.height - 19), f"{low:.4f}", fill="black")
    draw.text((280, sheet.height - 19), f"{high:.4f}   score of a point", fill="black")
    return sheet


def _points_of_views(found: Prediction) -> np.ndarray:
    """Scores of the points of the views, [n], from those of the scan."""
    seen = found.seen
    if "grid" in seen.cloud:
        key = "map_m3d" if found.modality == "m3d" else "map_3d"
        scores: np.ndarray = found.arrays[key].ravel()[seen.cloud["grid"]]
        return scores
    return found.arrays["points_3d"]
