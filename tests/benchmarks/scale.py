"""What `snakemake -n all_tables` takes for 10, 100, 1,000 and 10,000 categories: parsing, DAG, memory.

Run as ``python tests/benchmarks/scale.py [--categories 10 100 1000 10000] [--scans 10]``. The scans are empty files in
the layout of Real3D-AD, since a dry run looks at names and dates only; a data set has up to 1,000 categories, one of
them auxiliary. Two methods, a trained and an untrained one, read one set of features: four jobs a category and a few
a data set. The nine methods of the default read three sets, which makes eight jobs a category.

Times are processor seconds of a single core, so that other work on the machine does not count. Parsing is what
Snakemake takes to list the rules; the DAG is what a dry run takes beyond that, its listing of the jobs included.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
DATASET = 1000
"""Categories of a data set at most."""


@dataclass(frozen=True)
class Usage:
    """What a call of Snakemake printed and took."""

    text: str
    seconds: float
    megabytes: float

    @property
    def jobs(self) -> int:
        """Jobs of a dry run."""
        return int(re.findall(r"^total +(\d+)$", self.text, re.MULTILINE)[-1])


def write_index(folder: Path, n_categories: int, n_scans: int) -> Path:
    """Data sets of that many categories, and their config; returns its path."""
    datasets: dict[str, Any] = {}
    for first in range(0, n_categories, DATASET):
        name = f"site_{first // DATASET}"
        categories = [f"part_{index}" for index in range(first, min(first + DATASET, n_categories))]
        for category in categories:
            test = folder / "data" / name / category / "test"
            test.mkdir(parents=True)
            for scan in range(n_scans):
                (test / f"{scan:03d}_{'good' if scan else 'bulge'}.pcd").touch()
            labels = test.parent / "gt"
            labels.mkdir()
            (labels / "000_bulge.txt").touch()
        datasets[name] = {
            "layout": "real3d",
            "root": str(folder / "data" / name),
            "categories": dict.fromkeys(categories),
            "auxiliary": categories[:1],
        }
    config = {
        "datasets": datasets,
        "features": {"standard": {"model": "pointad-pocket", "random_seed": 1, "vv_blocks": 3}},
        "methods": {
            "clip_rendering": {"system": "clip_rendering"},
            "pointad_plus": {"system": "pointad_plus", "deep_blocks": 3},
        },
        "experiments": {"one_vs_rest": list(datasets)},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def call(config: Path, *arguments: str) -> Usage:
    """Snakemake on this config, in the config's folder."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile", "--cores", "1"]
    command += ["--directory", config.parent, *arguments, "--configfile", config]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(list(map(str, command)), stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise SystemExit(text[-3000:])
    return Usage(text, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--categories", type=int, nargs="+", default=[10, 100, 1000, 10000])
    parser.add_argument("--scans", type=int, default=10)
    options = parser.parse_args()
    print(f"{'categories':>10} {'jobs':>7} {'parsing':>9} {'DAG':>9} {'a category':>11} {'memory':>8}")
    for n_categories in options.categories:
        with tempfile.TemporaryDirectory() as folder:
            config = write_index(Path(folder), n_categories, options.scans)
            parsing = call(config, "--list-rules").seconds
            run = call(config, "all_tables", "-n")
        seconds = run.seconds - parsing
        row = f"{n_categories:10d} {run.jobs:7d} {parsing:7.1f} s {seconds:7.1f} s"
        print(f"{row} {1000 * seconds / n_categories:8.1f} ms {run.megabytes:5.0f} MB", flush=True)


if __name__ == "__main__":
    main()
