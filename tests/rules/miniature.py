"""Real runs of Snakemake on a miniature: a copy of the workflow, two tiny data sets, a CLIP with 4 x 4 patches."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]

MODEL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 56, "patch_size": 14, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 3},
}

LEARNING = {"epochs": 1, "deep_blocks": 1}

CONFIG: dict[str, Any] = {
    "resolution": 56,
    "datasets": {
        "mvtec3d": {
            "layout": "mvtec3d",
            "generated": {"scans": 4, "seed": 1},
            "categories": {"bagel": None, "carrot": None},
            "auxiliary": ["carrot"],
        },
        "real3d": {
            "layout": "real3d",
            "generated": {"scans": 4, "seed": 1},
            "categories": {"diamond": None},
            "n_points": 1000,
            "sampling": "voxel",
        },
    },
    "renderings": {"standard": {"window": 112}},
    "features": {
        name: {"rendering": name, "model": "pointad-mini", "random_seed": 1, "vv_blocks": 1}
        for name in ("standard", "depth", "realistic")
    },
    "methods": {
        "clip_rendering": {"system": "clip_rendering"},
        "cheraghian": {"system": "cheraghian", "epochs": 1},
        "pointclip_v2": {"system": "pointclip_v2", "features": "realistic"},
        "pointclip_v2_a": {"system": "pointclip_v2_a", "features": "realistic", **LEARNING},
        "anomalyclip": {"system": "anomalyclip", "features": "depth", **LEARNING},
        "pointad_coop": {"system": "pointad_coop", **LEARNING},
        "pointad": {"system": "pointad", **LEARNING},
        "pointad_plus_coop": {"system": "pointad_plus_coop", **LEARNING},
        "pointad_plus": {"system": "pointad_plus", **LEARNING},
    },
    "experiments": {
        "one_vs_rest": ["mvtec3d"],
        "cross_dataset": [{"source": "mvtec3d", "targets": ["real3d"]}],
    },
}


@dataclass
class Result:
    """What a call of Snakemake left behind."""

    code: int
    text: str
    seconds: float
    """Processor time of the call and its jobs, which other work on the machine leaves alone."""

    @property
    def jobs(self) -> Counter[str]:
        """Jobs by rule in the first table of jobs, without its total."""
        match = re.search(r"^Job stats:\n.*\n[- ]+\n((?:.*\S.*\n)+)", self.text, re.MULTILINE)
        rows = [line.rsplit(None, 1) for line in match[1].splitlines()] if match else []
        return Counter({rule: int(count) for rule, count in rows if rule != "total"})


def snakemake(*arguments: str | Path, snakefile: Path, directory: Path, cores: int = 2) -> Result:
    command = [sys.executable, "-m", "snakemake", "--snakefile", snakefile, "--directory", directory]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*map(str, command), "--cores", str(cores), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Warnings of Python's own in a job or in the Snakefile shall be seen as they are for a user.
        env={key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Result(done.returncode, done.stdout, seconds)


def copy_workflow(target: Path) -> Path:
    """Copy what makes the workflow, with the miniature's CLIP in it; returns the Snakefile."""
    target.mkdir()
    shutil.copy2(REPOSITORY / "Snakefile", target)
    for folder in ("workflow", "pointad_core", "config", "profiles", "envs"):
        shutil.copytree(REPOSITORY / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (target / "pointad_core/clip/models/pointad-mini.json").write_text(json.dumps(MODEL))
    return target / "Snakefile"


@dataclass
class Miniature:
    """A finished run of the miniature."""

    snakefile: Path
    directory: Path
    result: Result

    @property
    def package(self) -> Path:
        return self.snakefile.parent / "pointad_core"

    def plan(self, config: dict[str, Any] | None = None, target: str = "all_tables") -> Counter[str]:
        """Jobs that another run would have, without the target itself."""
        # Beside the config of the run, which real runs in this folder read again.
        path = self.directory / "plan.yaml"
        path.write_text(yaml.safe_dump(config or CONFIG))
        result = snakemake(target, "-n", "--configfile", path, snakefile=self.snakefile, directory=self.directory)
        assert result.code == 0, result.text
        return result.jobs - Counter([target])


@contextmanager
def changed(path: Path, content: bytes | None) -> Iterator[None]:
    """Give a file another content for a while, or take it away (None), and leave it as it was."""
    before, stat = path.read_bytes(), path.stat()
    try:
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
