"""From raw scans to point clouds: background, sampling, normals."""
