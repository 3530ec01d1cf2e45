"""Scores of scans that are known to be good, for a threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from pointad_core.errors import InputError
from pointad_core.predict.batch import predict_file
from pointad_core.predict.calibration import Calibration, calibrate
from pointad_core.predict.inputs import Input
from pointad_core.predict.predictor import Predictor


def calibrate_files(
    predictor: Predictor,
    inputs: Sequence[Input],
    false_alarm_rate: float,
    watch: Callable[[Sequence[Input]], Iterable[Input]] = iter,
    say: Callable[[str], None] = lambda _: None,
    complain: Callable[[str], None] = lambda _: None,
) -> Calibration | None:
    """Score good scans and find a threshold, which says what made the scores; None where a scan could not be read.

    watch, say, complain: as in `batch.predict_files`. Raises InputError where the scans' scores are not of one kind,
    some organised and some not, some with and some without a photograph, or some looked at from the front and some
    from all round.
    """
    made = dict(predictor.made)  # prompts that cannot be read are refused here, and not once for each scan
    scores: dict[str, float] = {}
    maxima: list[float] = []
    first: dict[str, tuple[Any, Input]] = {}
    failed = False
    for scan in watch(inputs):
        try:
            found = predict_file(predictor, scan.path, scan.photograph)
        except InputError as error:
            complain(str(error))
            failed = True
            continue
        scores[scan.name] = found.object
        maxima.append(float(found.scores.ravel()[found.maximum]))
        say(f"{scan.name}: score {found.object:.4f}")
        kind = {"organised": found.scan.organised, "modality": found.modality, "views": found.kind}
        for key, value in kind.items():
            seen, other = first.setdefault(key, (value, scan))
            if seen != value:
                raise InputError(f"{scan.path}: {DIFFERENT[key][value]}, but {other.path} {DIFFERENT[key][seen]}")
    if failed:
        return None
    made |= {key: value for key, (value, _) in first.items()}
    return replace(calibrate(scores, maxima, false_alarm_rate), **made, version=version("pointad_core"))


DIFFERENT: dict[str, dict[Any, str]] = {
    "organised": {True: "has its points on a grid", False: "has them in no order"},
    "modality": {"3d": "has no photograph", "m3d": "has a photograph (--no-rgb leaves them all out)"},
    "views": {
        "front": "is looked at from its front (--facing says one for all)",
        "around": "is looked at from all round (--facing says one for all)",
    },
}
"""What is said of scans whose scores cannot be compared."""
