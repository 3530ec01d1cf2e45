"""What a run shows of its jobs, of records as Snakemake makes them."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from workflow import progress
from workflow.progress import Progress, duration, show_lines


def record(event: LogEvent | None, message: str = "", at: float = 0.0, **content: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": message, "levelno": logging.INFO, "event": event, **content})
    made.created = at
    return made


def shown(progress: Progress, *records: logging.LogRecord) -> list[str]:
    return [progress.format(one) for one in records if progress.filter(one)]


def job(number: int, rule: str, wildcards: dict[str, str], input: list[str], output: list[str]) -> logging.LogRecord:
    content = {"jobid": number, "rule_name": rule, "wildcards": wildcards, "input": input, "output": output}
    return record(LogEvent.JOB_INFO, **content)


def test_a_job_is_one_line_when_it_is_done() -> None:
    progress = Progress(logging.Formatter())
    lines = shown(
        progress,
        record(None, "Select jobs to execute..."),
        record(LogEvent.JOB_STARTED, "Execute 2 jobs...", at=10, jobs=[4, 7]),
        job(4, "clouds", {"dataset": "parts", "category": "bracket", "shard": ""}, ["raw"], ["results/clouds/a"]),
        job(7, "scores", {"method": "own", "part": "/bracket/01"}, ["results/clouds/a"], ["results/scores/b"]),
        record(LogEvent.JOB_FINISHED, at=13.25, job_id=7),
        record(LogEvent.PROGRESS, done=1, total=12),
        record(LogEvent.JOB_FINISHED, at=75, job_id=4),
        record(LogEvent.PROGRESS, done=2, total=12),
    )
    assert [line.split() for line in lines] == [
        ["1/12", "scores", "own/bracket/01", "3.2", "s"],
        ["2/12", "clouds", "parts/bracket", "1", "min", "5", "s"],
    ]
    assert list(progress.results()) == ["results/scores/b"]


def test_jobs_of_a_group_are_a_line_each() -> None:
    progress = Progress(logging.Formatter())
    lines = shown(
        progress,
        record(LogEvent.JOB_STARTED, at=1, jobs=[1, 2]),
        job(1, "renders", {"category": "bracket"}, [], []),
        job(2, "features", {"category": "bracket"}, [], []),
        record(LogEvent.JOB_FINISHED, at=2, job_id=1),
        record(LogEvent.JOB_FINISHED, at=2, job_id=2),
        record(LogEvent.PROGRESS, done=5, total=10),
    )
    assert [line.split()[0] for line in lines[0].splitlines()] == ["4/10", "5/10"]


def test_what_is_no_job_is_shown_as_usual() -> None:
    progress = Progress(logging.Formatter())
    warning = record(None, "the disk is nearly full")
    warning.levelno = logging.WARNING
    records = warning, record(LogEvent.JOB_ERROR, "Error in rule clouds"), record(None, "Nothing to be done")
    assert shown(progress, *records) == ["the disk is nearly full", "Error in rule clouds", "Nothing to be done"]


def test_results_are_the_files_that_no_job_of_the_run_has_read() -> None:
    progress = Progress(logging.Formatter())
    tables = [f"results/tables/table{number}.tex" for number in (1, 2)]
    shown(
        progress,
        job(1, "metrics", {}, [], ["results/metrics/m.csv"]),
        job(2, "table", {}, ["results/metrics/m.csv"], tables),
        job(3, "all_tables", {}, tables, []),
    )
    assert list(progress.results()) == ["results/tables/  2 files, such as results/tables/table2.tex"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 0 s"), (119.7, "2 min 0 s"), (7260, "2 h 1 min")],
)
def test_a_time_is_told_as_one_says_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize("asked", ["verbose", "printshellcmds", "quiet"])
def test_who_asks_for_more_or_less_gets_what_snakemake_shows(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = logging.StreamHandler()
    monkeypatch.setattr(progress, "terminal", lambda: handler)
    settings = {"verbose": False, "printshellcmds": False, "quiet": set()}
    show_lines(SimpleNamespace(**{**settings, asked: True}))
    assert handler.filters == []
    show_lines(SimpleNamespace(**settings))
    assert isinstance(handler.formatter, Progress)
