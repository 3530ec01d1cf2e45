"""How near mutual scoring is to the matrix products that it cannot do without, and what it holds in memory.

    python tests/benchmarks/mutual.py [--scans N] [--device cpu|cuda]

Features are drawn, of the size of the paper's backbone: 9 views of 24 x 24 patches with 768 dimensions, each view
compared with the same view of every other scan. The limit is the time of one product for each pair of scans, of which
nothing is kept; both are timed in this process, one after the other.
"""

import argparse
import resource
import time

import torch
from torch.nn import functional as F

from pointad_core.methods.comparison import Parts, mutual_scores

VIEWS, PATCHES, DIMENSIONS = 9, 576, 768


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=24)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    names = [f"{number:04d}" for number in range(arguments.scans)]

    def load(name: str) -> Parts:
        drawn = torch.randn(VIEWS, PATCHES, DIMENSIONS, generator=torch.Generator().manual_seed(int(name)))
        return {"views": F.normalize(drawn, dim=-1).to(arguments.device)}

    def settle() -> float:
        if arguments.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    pairs = len(names) * (len(names) - 1) // 2
    one, other = load(names[0])["views"], load(names[1])["views"].transpose(1, 2)
    torch.bmm(one, other)
    start = settle()
    for _ in range(pairs):
        torch.bmm(one, other)
    limit = settle() - start
    # Reading is left out of both: scans are at hand.
    held = {name: load(name) for name in names}
    start = settle()
    for _ in mutual_scores(held.__getitem__, names, names, 0.3, None):
        pass
    seconds = settle() - start
    flops = 2 * VIEWS * PATCHES**2 * DIMENSIONS * pairs
    print(f"{len(names)} scans, {pairs} pairs, {arguments.device}, {torch.get_num_threads()} threads")
    print(f"products alone   {limit:7.2f} s, {flops / limit / 1e9:.0f} GFLOP/s")
    print(f"mutual scores    {seconds:7.2f} s, {seconds / limit:.2f} times as long")
    if arguments.device.startswith("cuda"):
        print(f"memory           {torch.cuda.max_memory_allocated() / 2**20:7.0f} MiB")
    else:
        print(f"memory           {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:7.0f} MiB")


if __name__ == "__main__":
    main()
