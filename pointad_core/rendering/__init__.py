"""From point clouds to views: the camera, visibility, and a module for each renderer (Sec. 3.3)."""
