"""CLIP + Rendering (Sec. 4): CLIP as it is, with two handwritten prompts that name the category.

The same renders, fusion over views and scores as PointAD, but CLIP's own attention and no learning.
"""

from pointad_core.methods.prompts import handwritten
from pointad_core.methods.segmentation import global_score, object_score, point_scores

__all__ = ["global_score", "object_score", "point_scores", "restore", "templates"]


def templates(name: str) -> dict[str, tuple[str, str]]:
    """The paper's prompts."""
    return {"rendering": (f"A photo of a normal {name}", f"A photo of an anomalous {name}")}


restore = handwritten(templates)
