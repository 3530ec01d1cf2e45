"""Normals of points that span no plane; those of the others are tested with the clouds."""

import numpy as np

from pointad_core.clouds.normals import estimate_normals


def test_normals_without_a_neighbourhood_are_unit_vectors_still():
    normals = estimate_normals(np.array([[0, 0, 0], [9, 9, 9.0], [9, 9, 9.0]]), 1.0, 5)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
