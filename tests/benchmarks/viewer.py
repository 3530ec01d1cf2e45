"""The viewer with 200,000 points: what its page weighs, and how it is turned without a GPU.

Run: python tests/benchmarks/viewer.py

The page is opened in a headless Chromium whose WebGL is drawn by the processor (SwiftShader), in a window of
1400 x 900 pixels, and turned by 60 key strokes, one a frame.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pointad_core.evaluation.viewer import Shown, write_viewer

sys.path.insert(0, str(Path(__file__).parents[1]))
from browser import MISSING, Browser

POINTS = 200_000
TURN = (
    "const done = arguments[0]; const canvas = document.getElementById('canvas'); const times = []; let last = 0;"
    "const step = (now) => { if (last) times.push(now - last); last = now;"
    " canvas.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}));"
    " if (times.length < 60) requestAnimationFrame(step); else done(times); }; requestAnimationFrame(step);"
)


def ring(seed: int = 0) -> Shown:
    """A ring with a dent that is scored high, and four scores."""
    rng = np.random.default_rng(seed)
    around, across = rng.uniform(0, 2 * np.pi, (2, POINTS))
    radius = 14 + 0.6 * np.sin(9 * around) * np.cos(3 * across)
    wide = 40 + radius * np.cos(across)
    points = np.stack([wide * np.cos(around), wide * np.sin(around), radius * np.sin(across)], axis=1)
    near = np.exp(-((np.linalg.norm(points - [50, 10, 8], axis=1) / 6) ** 2))
    names = ("score", "implicit", "explicit", "rgb")
    scores = {name: (near + 0.05 * rng.random(POINTS)).astype(np.float32) for name in names}
    colours = rng.integers(100, 160, (POINTS, 3), dtype=np.uint8)
    return Shown("ring", points.astype(np.float32), scores, colours, near > 0.5, 0.5)


def main() -> None:
    scan = ring()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        start = time.perf_counter()
        write_viewer(page, [scan], "Ring")
        print(f"written in {time.perf_counter() - start:.1f} s, {page.stat().st_size / 1e6:.1f} MB")
        if MISSING:
            print(f"not opened: {' and '.join(MISSING)} not installed")
            return
        browser = Browser()
        try:
            start = time.perf_counter()
            browser.open(page, (1400, 900))
            print(f"opened and drawn in {time.perf_counter() - start:.1f} s")
            times = browser.driver.execute_async_script(TURN)
            later = sorted(times[20:])
            print(f"turned with {1000 / statistics.mean(later):.0f} frames a second, 95 % within {later[-3]:.0f} ms")
        finally:
            browser.close()


if __name__ == "__main__":
    main()
