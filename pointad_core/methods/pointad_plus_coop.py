"""PointAD+-CoOp: PointAD+ with the category's name in place of "object" and of "point cloud" (Sec. 4.1).

Both layers then have the same texts; what tells them apart is each one's own context and deep tokens.
"""

from pointad_core.methods import pointad_coop
from pointad_core.methods.pointad_plus import branches, global_score, loss_terms, object_score, point_scores
from pointad_core.methods.prompts import learnt

__all__ = [
    "branches",
    "first_weights",
    "global_score",
    "loss_terms",
    "object_score",
    "point_scores",
    "restore",
    "templates",
]


def templates(name: str) -> dict[str, tuple[str, str]]:
    """PointAD-CoOp's texts for either layer."""
    (texts,) = pointad_coop.templates(name).values()
    return {"rendering": texts, "geometry": texts}


first_weights, restore = learnt(templates, class_names=True)
