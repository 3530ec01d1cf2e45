"""The folder of a run, as both Snakefiles take it: one that can be written to, by one run at a time."""

import os

from snakemake.exceptions import WorkflowError

from pointad_core.errors import InputError
from pointad_core.storage.locks import FOLDER, enter, hold


def enter_folder(runs: bool) -> None:
    """Before Snakemake writes to the folder: refuse one that it cannot; of a process that runs jobs, be known there."""
    if not FOLDER.is_dir() and not os.access(".", os.W_OK | os.X_OK):
        raise WorkflowError(f"{os.getcwd()}: this folder cannot be written to; name another one with --directory")
    if runs:
        enter()


def hold_folder() -> None:
    """Refuse to run where another run is going on."""
    try:
        hold()
    except InputError as error:
        raise WorkflowError(str(error)) from None
