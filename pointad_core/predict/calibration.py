"""A threshold for object scores at a stated false-alarm rate, from scans that are known to be good.

Split-conformal (Vovk et al. 2005; Lei et al. 2018): of n scores of good scans the threshold is the k-th smallest,
k = ceil((n + 1)(1 - a)), and a scan is called defective where its score is above. A further good scan, made like the n,
is then called defective with probability at most a, whatever the scores' distribution. That is a mean over all sets of
n scans that might have been taken; the rate that this one threshold has is not known, but distributed as
Beta(n + 1 - k, k), which gives its interval. Standard library at import: only the interval needs more.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from pointad_core.errors import InputError
from pointad_core.storage import files

KIND = "pointad threshold"
CONFIDENCE = 0.95
MADE_BY = ("prompts_sha256", "model", "settings")
"""What scores depend on besides the scan: a threshold is good for scores that were made by the same alone."""


@dataclass(frozen=True)
class Calibration:
    """A threshold, and what it rests on; the fields are the keys of its JSON."""

    threshold: float
    """An object score above it is called defective."""
    false_alarm_rate: float
    """Share of good scans that are called defective, at most, in the mean over calibrations."""
    interval: tuple[float, float]
    """In which the share of good scans that this threshold calls defective lies, with 95 % confidence."""
    n: int
    scores: Mapping[str, float]
    """Of each good scan, by its file."""
    point_threshold: float = math.nan
    """Of points, found alike from the highest point of each good scan: one that has a point above it is unlike them."""
    prompts_sha256: str = ""
    model: Any = None
    settings: Any = None
    modality: str = ""
    """"3d", or "m3d" of scans with a photograph, whose scores are others."""
    views: str = ""
    """"front", or "around" of closed scans, whose scores are others."""
    organised: bool | None = None
    """Whether the points lay on a grid, which makes other scores; None where a file does not say."""
    version: str = ""
    notes: tuple[str, ...] = ()


def calibrate(scores: Mapping[str, float], maxima: Sequence[float], false_alarm_rate: float) -> Calibration:
    """The thresholds at a false-alarm rate from the object scores of good scans by their files and from the scores of
    the highest point of each.

    Equal scores at the threshold make the true rate smaller than stated, never larger; the interval then begins at 0.
    Raises InputError for a rate outside of (0, 1), scores that are not finite, and too few of them: n >= 1 / rate - 1.
    """
    n = len(scores)
    above = count_above(n, false_alarm_rate)
    if odd := [name for name, score in scores.items() if not math.isfinite(score)]:
        raise InputError(f"{odd[0]}: its object score is not finite")
    ordered = sorted(scores.values())
    threshold = ordered[n - above]
    ties = ordered.count(threshold) - 1
    notes = []
    if ties:
        notes.append(f"{ties + 1} scans have the score of the threshold; are the files copies of one another?")
    low, high = interval(n, above)
    found = (0.0 if ties else low, high)
    points = sorted(maxima)[n - above]
    return Calibration(threshold, false_alarm_rate, found, n, dict(scores), points, notes=tuple(notes))


def count_above(n: int, false_alarm_rate: float) -> int:
    """Of n scores and a further one, how many may be above the threshold: n + 1 - k, at least 1.

    Raises InputError for a rate outside of (0, 1), and for too few scores: n >= 1 / rate - 1.
    """
    if not 0 < false_alarm_rate < 1:
        raise InputError(f"false-alarm rate {false_alarm_rate:g}: expected a number between 0 and 1, such as 0.05")
    rate = _exact(false_alarm_rate)
    # (n + 1)(1 - a) in floats can lie a hair above a whole number, and would be taken for the next.
    above = math.floor((n + 1) * rate)
    if above < 1:
        needed = math.ceil(1 / rate) - 1
        allowed = f"{n} {'allows' if n == 1 else 'allow'} a rate of {_up(Fraction(1, n + 1))} or more"
        had = allowed if n else "there is none"
        raise InputError(f"false-alarm rate {false_alarm_rate:g}: at least {needed} good scans are needed, and {had}")
    return above


def interval(n: int, above: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Equal-tailed interval of the share of good scans above the (n + 1 - above)-th smallest of n scores.

    For scores without ties that share is Beta(above, n + 1 - above) over calibrations.
    """
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low, high = beta.ppf([tail, 1 - tail], above, n + 1 - above)
    return float(low), float(high)


def decide(score: float, calibration: Calibration) -> bool:
    """Whether an object score is called defective."""
    return score > calibration.threshold


def check_made_by(calibration: Calibration, made: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Refuse, with InputError, a threshold for scores that other prompts, another model or other settings have made.

    made: prompts_sha256, model and settings of the scores that are to be decided upon.
    """
    for key in MADE_BY:
        # As JSON has them: a tuple and a list are the same there.
        found, expected = (json.loads(json.dumps(value)) for value in (getattr(calibration, key), made[key]))
        if found != expected:
            what = "prompts" if key == "prompts_sha256" else key
            told = f": {', '.join(_differences(found, expected))}" if key != "prompts_sha256" else ""
            raise InputError(f"{path}: was made with other {what} than these scores{told}; calibrate again")


def misfit(calibration: Calibration, modality: str, views: str, organised: bool) -> str:
    """Why a threshold says nothing of a scan with this modality and these views, organised or not; "" where it does."""
    kinds = {True: "organised (points on a grid)", False: "in no order"}
    if calibration.organised is not None and calibration.organised != organised:
        return f"the threshold is for scans that are {kinds[calibration.organised]}; this one is {kinds[organised]}"
    words = {"3d": "no photograph", "m3d": "a photograph", "front": "their front", "around": "all round"}
    if calibration.modality != modality:
        return f"the threshold is for scans with {words[calibration.modality]}; this one has {words[modality]}"
    if calibration.views != views:
        what = {"front": "its front", "around": "all round"}[views]
        return f"the threshold is for scans that are looked at from {words[calibration.views]}; this one is from {what}"
    return ""


def write_calibration(path: str | os.PathLike[str], calibration: Calibration) -> None:
    """Write a calibration as JSON, whole or not at all; the same calibration gives the same bytes."""
    with files.replacing(path) as partial:
        text = json.dumps({"kind": KIND, **asdict(calibration)}, indent=1, sort_keys=True, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")


def read_calibration(path: str | os.PathLike[str]) -> Calibration:
    """Read what `write_calibration` has written; InputError, with the file's name, for anything else."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a threshold as `pointad calibrate` writes it ({error})") from error
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise InputError(f"{path}: not a threshold as `pointad calibrate` writes it (its kind is not {KIND!r})")
    del found["kind"]
    keys = set(Calibration.__dataclass_fields__)
    found = {"organised": None, **found}
    if odd := sorted(keys ^ set(found)):
        raise InputError(f"{path}: the key {odd[0]!r} is {'missing' if odd[0] in keys else 'unknown'}")
    for key, allowed in (("modality", ("3d", "m3d")), ("views", ("front", "around"))):
        if found[key] not in allowed:
            raise InputError(f"{path}: {key} is {found[key]!r}, expected one of {', '.join(allowed)}")
    if not isinstance(found["organised"], bool | None):
        raise InputError(f"{path}: organised is {found['organised']!r}, expected true or false")
    for key in ("threshold", "point_threshold"):
        value = found[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"{path}: {key} is {value!r}, expected a number")
    return Calibration(**{**found, "interval": tuple(found["interval"]), "notes": tuple(found["notes"])})


def _exact(rate: float) -> Fraction:
    """A rate as it is written, not as floats have it: 0.05 is a twentieth."""
    return Fraction(repr(float(rate)))


def _up(rate: Fraction) -> str:
    """A rate in few digits, rounded up, so that it is one that can be had."""
    digits = 2 - math.floor(math.log10(rate))
    scale = 10**digits
    return f"{math.ceil(rate * scale) / scale:.{digits}f}".rstrip("0")


def _differences(found: Any, expected: Any, key: str = "") -> Iterable[str]:
    """In words where two values of JSON differ."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in sorted(found.keys() | expected.keys()):
            if found.get(name) != expected.get(name):
                yield from _differences(found.get(name), expected.get(name), f"{key}.{name}" if key else name)
    else:
        yield f"{key or 'it'} was {found!r} and is {expected!r}"
