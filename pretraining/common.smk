"""The config checked, and what the rules take from it."""

import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# The project's root, for the scripts as well: they search where Snakemake does.
ROOT = str(Path(workflow.basedir).parent)
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from pointad_core.errors import InputError
from pointad_core.storage.fingerprints import fingerprint
from workflow.schema import fill_in
from workflow.folder import enter_folder, hold_folder
from workflow.progress import show_lines, show_results

try:
    fill_in(config, Path(workflow.basedir, "config.schema.yaml"))
except InputError as error:
    raise WorkflowError(str(error)) from None

# Jobs on a cluster read this file as well, while the run goes on; a dry run only looks.
enter_folder(runs=workflow.is_main_process and not workflow.output_settings.dryrun)

# A job that computes on the CPU must not wait for a GPU's turn; on a cluster the profile says which rules get one.
GPUS = int(shutil.which("nvidia-smi") is not None)

LOT_THINGS = 20
LOTS = {
    f"{first // LOT_THINGS:03d}": [first, min(LOT_THINGS, config["things"] - first)]
    for first in range(0, config["things"], LOT_THINGS)
}


# What the model is built from, beside code.
MODEL_FILES = ("clip/models/pointad-pocket.json", "clip/models/pointad-pocket.bpe.gz")


def grows(least):
    """A resource of `least`, doubled with every attempt."""
    return lambda wildcards, attempt: least * 2 ** (attempt - 1)


def module(name):
    """A module of this folder, for the fingerprint."""
    return f"{workflow.basedir}/{name}.py"
