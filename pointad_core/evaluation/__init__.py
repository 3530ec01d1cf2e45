"""From scores to numbers and pictures: metrics, averages, LaTeX, heat maps (Sec. 4)."""
