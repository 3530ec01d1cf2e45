"""The folder of a run."""

import os
from pathlib import Path

import pytest
from snakemake.exceptions import WorkflowError

from workflow.folder import enter_folder, hold_folder


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Root may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for runs in (True, False):
        with pytest.raises(WorkflowError, match=f"{tmp_path}: this folder cannot be written to; .* --directory"):
            enter_folder(runs)
    # Where somebody's run has been, its results can be looked at.
    (tmp_path / ".snakemake").mkdir()
    enter_folder(runs=False)
    with pytest.raises(WorkflowError, match=r"run\.lock: .*; name another folder"):
        (tmp_path / ".snakemake/run.lock").mkdir()
        hold_folder()
