"""What a run shows on the terminal: a line for each job that is done, and at the end where the results are.

Snakemake's own lines tell of every job all its files, parameters and reasons, which for hundreds of jobs is thousands
of lines. They stay in its log below .snakemake/log, in a dry run, which is there to explain, and with --verbose.
"""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

CHATTER = ("Select jobs to execute", "Removing temporary output", "Touching output")


class Progress(logging.Formatter):
    """Filter and formatter of the terminal's handler: of what happens to a job it lets the end pass, in one line."""

    def __init__(self, usual: logging.Formatter) -> None:
        super().__init__()
        self.usual = usual
        self.began = time.time()
        self.started: dict[int, float] = {}
        self.jobs: dict[int, logging.LogRecord] = {}
        self.finished: list[tuple[int, float]] = []
        self.done = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown; what it says of a job is kept for the job's line."""
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_STARTED:
            self.started |= dict.fromkeys(record.__dict__["jobs"], record.created)
        elif event == LogEvent.JOB_INFO:
            self.jobs[record.__dict__["jobid"]] = record
        elif event == LogEvent.JOB_FINISHED:
            self.finished.append((record.__dict__["job_id"], record.created))
        elif event is not None or record.levelno != logging.INFO:
            return True
        else:
            return not record.getMessage().startswith(CHATTER)
        return False

    def format(self, record: logging.LogRecord) -> str:
        """Lines of the jobs that are done since the last record of the run's progress; any other record as usual."""
        if getattr(record, "event", None) != LogEvent.PROGRESS:
            return self.usual.format(record)
        self.done, total = record.__dict__["done"], record.__dict__["total"]
        first = self.done - len(self.finished) + 1
        lines = []
        for number, (job, ended) in enumerate(self.finished, first):
            count = f"{number:>{len(str(total))}}/{total}"
            took = duration(ended - self.started.get(job, ended))
            lines.append(f"{count}  {self.describe(job)}  {took}")
        self.finished.clear()
        return "\n".join(lines)

    def describe(self, job: int) -> str:
        """Rule and wildcards of a job, in columns."""
        said = self.jobs[job].__dict__
        values = (str(value).strip("/") for value in said["wildcards"].values())
        return f"{said['rule_name']:<18} {'/'.join(filter(None, values)):<50}"

    def results(self) -> Iterator[str]:
        """A line for each folder with files that this run has made and none of its jobs has read further."""
        told = [record.__dict__ for record in self.jobs.values()]
        # A target reads what was asked for, and makes nothing.
        read = {path for job in told if job["output"] for path in job["input"]}
        made: dict[str, list[str]] = {}
        for path in sorted({path for job in told for path in job["output"]} - read):
            made.setdefault("/".join(Path(path).parts[:2]), []).append(path)
        for folder, paths in made.items():
            yield paths[0] if len(paths) == 1 else f"{folder}/  {len(paths)} files, such as {paths[-1]}"


def duration(seconds: float) -> str:
    """A time as one says it: "3.2 s", "12 min 5 s", "2 h 3 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def terminal() -> Any:
    """Snakemake's handler for the terminal; None where a logger plugin has its place."""
    return next((handler for handler in logger.handlers if handler.name == "DefaultStreamHandler"), None)


def show_lines(settings: Any) -> None:
    """From here on a line for each job, unless more was asked for, or less; settings: Snakemake's, of its output."""
    handler = terminal()
    if handler is not None and not (settings.verbose or settings.printshellcmds or settings.quiet):
        progress = Progress(handler.formatter)
        handler.setFormatter(progress)
        handler.addFilter(progress)


def show_results() -> None:
    """The last lines of a run that went well."""
    handler = terminal()
    progress = handler.formatter if handler is not None else None
    if isinstance(progress, Progress):
        took = duration(time.time() - progress.began)
        logger.info("\n".join([f"{progress.done} jobs in {took}. Made:", *progress.results()]))
