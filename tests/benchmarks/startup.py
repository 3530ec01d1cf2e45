"""How much of Tables 1-4 of the embedded default goes into starting Python and importing, by stage.

Run as ``python tests/benchmarks/startup.py [--whole] [--cores 2]``. Jobs are run by Snakemake in a folder of their own;
each tells its processor seconds and how many of them are start and imports (`imports/sitecustomize.py`), which other
work on the machine hardly changes. Without --whole one auxiliary class and one data set are run, a fifth of the jobs,
with every method and every rendering; a stage's mean then stands for all its jobs in the plan of the whole. With it
all jobs are run, and the time on the clock is told as well.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TABLES = [f"results/tables/table{number}.tex" for number in range(1, 5)]
SOME = re.compile(r"results/metrics/\w+/(?:mvtec3d/carrot/111|none/none/0)/mvtec3d\.csv")
"""Metrics of one auxiliary class on one data set."""


def snakemake(folder: Path, *arguments: str, **environment: str) -> str:
    """What Snakemake prints, with the workflow of this repository in a folder."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
    command += ["--directory", str(folder), "--workflow-profile", str(REPOSITORY / "profiles/default"), *arguments]
    found = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if found.returncode:
        sys.exit(found.stdout)
    return found.stdout


def count_jobs(dry_run: str) -> Counter[str]:
    """Jobs of a dry run by the names of their scripts; a category's raw scans have a rule of their own."""
    stats = dry_run[: dry_run.index("\ntotal ")]
    jobs: Counter[str] = Counter()
    for rule, count in re.findall(r"^(\w+) +(\d+)$", stats, re.MULTILINE):
        jobs["generate" if rule.startswith("generate_") else rule] += int(count)
    return jobs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whole", action="store_true", help="run every job of Tables 1-4")
    parser.add_argument("--cores", default="2")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, told = Path(name) / "run", Path(name) / "told"
        folder.mkdir()
        dry_run = snakemake(folder, "--cores", args.cores, "--dry-run", "--", *TABLES)
        targets = TABLES if args.whole else sorted(set(SOME.findall(dry_run)))
        paths = [str(Path(__file__).parent / "imports"), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {"PYTHONPATH": os.pathsep.join(paths), "POINTAD_IMPORTS": str(told)}
        start = time.perf_counter()
        snakemake(folder, "--cores", args.cores, "--", *targets, **environment)
        minutes, seconds = divmod(time.perf_counter() - start, 60)
        measured = defaultdict(list)
        for stage, *figures in map(str.split, told.read_text().splitlines()):
            measured[stage].append([float(figure) for figure in figures])
    planned = count_jobs(dry_run)
    print(f"{'stage':<12}{'jobs':>6}{'s a job':>10}{'start':>10}{'s in all':>10}{'start':>10}")
    whole = [0.0, 0.0]
    for stage, jobs in planned.items():
        if stage not in measured:
            print(f"{stage:<12}{jobs:>6}  not run")
            continue
        means = [sum(figures) / len(measured[stage]) for figures in zip(*measured[stage], strict=True)]
        totals = [mean * jobs for mean in means]
        whole = [sum(pair) for pair in zip(whole, totals, strict=True)]
        print(f"{stage:<12}{jobs:>6}" + "".join(f"{figure:>10.2f}" for figure in (*means, *totals)))
    print(f"{'in all':<12}{planned.total():>6}{'':>20}{whole[0]:>10.1f}{whole[1]:>10.1f}")
    print(f"start and imports: {100 * whole[1] / whole[0]:.0f} % of the jobs' processor seconds")
    if args.whole:
        print(f"on the clock, {args.cores} cores: {minutes:.0f} min {seconds:.0f} s")


if __name__ == "__main__":
    main()
