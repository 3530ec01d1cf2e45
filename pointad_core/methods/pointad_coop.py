"""PointAD-CoOp: PointAD with the category's name in place of "object" (Sec. 4.1).

The learnable context and the deep tokens are trained before the auxiliary category's name; before another category's
name they give that category's text embeddings.
"""

from pointad_core.methods.pointad import global_score, loss_terms, object_score, point_scores
from pointad_core.methods.prompts import learnt

__all__ = ["first_weights", "global_score", "loss_terms", "object_score", "point_scores", "restore", "templates"]


def templates(name: str) -> dict[str, tuple[str, str]]:
    """PointAD's texts about a category of this name."""
    return {"rendering": (f"{name}.", f"damaged {name}.")}


first_weights, restore = learnt(templates, class_names=True)
