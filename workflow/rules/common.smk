"""The config checked, and what several rules share; what is computed for a config stands in workflow/plan.py.

Params are plain values (text, numbers, lists, dicts): change detection ignores anything else. They hold the keys that
a stage depends on and no other, so that a change of a key reruns what depends on it alone.
"""

import math
import re
import shutil
from functools import partial

from snakemake.exceptions import WorkflowError

from pointad_core.errors import InputError
from pointad_core.storage.fingerprints import fingerprint
from workflow import (
    ablations,
    figures,
    inputs,
    overhead,
    plan,
    raw_scans,
    reporting,
    sizes,
    tables,
    unsupervised,
    variants,
)
from workflow import predictions as own
from workflow.checks import complete
from workflow.folder import enter_folder, hold_folder
from workflow.progress import show_lines, show_results

try:
    complete(config, workflow.overwrite_configfiles or [f"{workflow.basedir}/config/config.yaml"])
    raw_scans.refuse_generated(config)
except InputError as error:
    raise WorkflowError(str(error)) from None

# Jobs on a cluster read this file as well, while the run goes on; a dry run only looks.
enter_folder(runs=workflow.is_main_process and not workflow.output_settings.dryrun)

DATASETS = config["datasets"]

# A job that computes on the CPU must not wait for a GPU's turn. On a cluster, whose login node may lack the GPUs that
# its other nodes have, the profile says which rules get one (`set-resources`).
GPUS = int(shutil.which("nvidia-smi") is not None)


def any_of(names):
    """A regular expression for one of these names, or for nothing where there are none."""
    return "|".join(re.escape(str(name)) for name in sorted(set(names))) or "(?!)"


# Categories, and auxiliary classes among them, can be thousands: a list of them would stand in the pattern of every
# file of every job. The functions of the plan refuse a name that is in no data set.
NAME = "[A-Za-z0-9][A-Za-z0-9_.-]*"

# What stands behind a category in a path: nothing, or a shard of it.
SHARD = "(?:/[01]+)?"


wildcard_constraints:
    dataset=any_of(DATASETS),
    source=any_of([*DATASETS, plan.NONE]),
    category=NAME,
    shard=SHARD,
    part=f"(?:/{NAME}{SHARD})?",
    auxiliary=NAME,
    rendering=any_of(config["renderings"]),
    features=any_of(config["features"]),
    aggregation=any_of(config["aggregations"]),
    method=any_of(config["methods"]),
    seed=any_of([0, *config["seeds"]]),
    number="[1-4]",
    ablation=any_of(config["ablations"]),
    prediction=any_of(config["predictions"]),
    figure=any_of(config["figures"]),


def in_place(function):
    """Files of the user's own as inputs: read where they are, whatever storage a profile has for results."""
    return lambda wildcards: [local(file) for file in function(config, wildcards)]


def of_config(function):
    """A function of the config and of wildcards as Snakemake calls it, with wildcards alone."""
    return partial(function, config)


def grows(least, each=0, of=sizes.scans_of_store):
    """A resource of `least`, and `each` more for every one `of` what the job works on; doubled with every attempt.

    So a job that was killed for its memory or its time asks for twice as much when it is submitted again. How much a
    job really takes stands in docs/cluster.md.
    """
    return lambda wildcards, attempt: math.ceil(
        (least + (each * of(config, wildcards) if each else 0)) * 2 ** (attempt - 1)
    )
