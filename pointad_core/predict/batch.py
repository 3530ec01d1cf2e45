"""Many scans, one after the other: from files to results on disk, with one that cannot be read left behind, named.

predictor = Predictor.load()
done = predict_files(predictor, find_inputs(["scans"], out), out)
done.summaries, done.failures
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointad_core.errors import InputError
from pointad_core.predict import outputs
from pointad_core.predict.inputs import OVERVIEW, PAGE, Input, check_out
from pointad_core.predict.predictor import Prediction, Predictor
from pointad_core.predict.scan import read_scan
from pointad_core.storage import files

if TYPE_CHECKING:
    from pointad_core.evaluation.viewer import Shown

POINTS_OF_PAGE = 1_500_000
"""Points that the page of all scans has room for; each scan's own page has them all."""
MOST_SCANS_OF_PAGE = 200


@dataclass
class Done:
    """What came of scans: what each one's JSON says, in their order, and why others could not be read."""

    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def predict_file(predictor: Predictor, path: Path, photograph: Path | None = None) -> Prediction:
    """A file's scores, in memory; InputError, which names the file, where it cannot be read or scored."""
    return predictor(read_scan(path, photograph, predictor.wanted))


def predict_files(
    predictor: Predictor,
    inputs: Sequence[Input],
    out: Path,
    watch: Callable[[Sequence[Input]], Iterable[Input]] = iter,
    say: Callable[[str], None] = lambda _: None,
    complain: Callable[[str], None] = lambda _: None,
    overview: bool = False,
) -> Done:
    """Score scans and write each one's files to `out/<name>/`; of several also `index.html` and `summary.csv`.

    watch: passes the scans through, and shows how far it is; say: is told of each scan what was found, and
    complain why one failed; overview: write these two of a single scan as well. Raises OSError where
    results cannot be written, and InputError where they would go in among scans.
    """
    check_out(inputs, out)
    done, shown = Done(), list["Shown"]()
    overview = overview or len(inputs) > 1
    most = max(5_000, min(100_000, POINTS_OF_PAGE // max(1, len(inputs))))

    def finish(scan: Input, found: Prediction, written: Future[dict[str, Any]]) -> None:
        summary = done.summaries[scan.name] = written.result()
        say(f"{scan.name}: {outputs.tell(found)}")
        for note in summary["notes"]:
            say(f"    {note}")

    def write(scan: Input, found: Prediction) -> dict[str, Any]:
        summary = outputs.write_all(found, scan.name, out / scan.name)
        if overview and len(shown) < MOST_SCANS_OF_PAGE:
            shown.append(outputs.to_shown(found, summary, most))
        return summary

    # A scan's files are written while the next one is scored: one core packs, the others compute.
    with ThreadPoolExecutor(1) as writer:
        last: tuple[Input, Prediction, Future[dict[str, Any]]] | None = None
        for scan in watch(inputs):
            found, reason = None, ""
            try:
                found = predict_file(predictor, scan.path, scan.photograph)
            except (InputError, MemoryError) as error:
                reason = str(error) or "not enough memory"
            if last is not None:
                finish(*last)
            if found is None:
                last = None
                done.failures[scan.name] = reason if str(scan.path) in reason else f"{scan.path}: {reason}"
                complain(done.failures[scan.name])
            else:
                last = scan, found, writer.submit(write, scan, found)
        if last is not None:
            finish(*last)
    if overview:
        _write_overview(done, shown, inputs, out)
    return done


def _write_overview(done: Done, shown: Sequence[Shown], inputs: Sequence[Input], out: Path) -> None:
    """The page of all scans, and their table."""
    from pointad_core.evaluation.viewer import write_viewer

    if shown:
        write_viewer(out / PAGE, shown, f"{len(shown)} of {len(inputs)} scans")
    with files.replacing(out / OVERVIEW) as place, open(place, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["name", "file", "object_score", "decision", "maximum_x", "maximum_y", "maximum_z", "failure"])
        for scan in inputs:
            if (summary := done.summaries.get(scan.name)) is not None:
                table.writerow(_row(scan, summary))
            else:
                table.writerow([scan.name, scan.path, *[""] * 5, done.failures[scan.name]])


def _row(scan: Input, summary: Mapping[str, Any]) -> list[Any]:
    score, point = f"{summary['object_score']:.7g}", summary["maximum"]["point"]
    return [scan.name, scan.path, score, summary["decision"], *(f"{number:.9g}" for number in point), ""]
