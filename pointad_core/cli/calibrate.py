"""Find a threshold for a yes or no from scans that are known to be good.

Of scans like these, no more than the stated share are called defective afterwards (split-conformal; the mean over sets
of scans that might have been taken). What this one threshold's share really is, is told as an interval, which more
scans make narrower. At least 1 / rate - 1 good scans are needed: 19 for 0.05, 99 for 0.01.

The threshold holds for scans that are scored in the same way: with the same prompts, options, and the same sides.

examples:
  pointad calibrate good_scans/ --out part.json
  pointad calibrate good_scans/ --out part.json --false-alarm-rate 0.01
  pointad predict part.ply --threshold part.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pointad_core.cli import predict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The good scans, the rate, and how scans are scored."""
    parser.add_argument("scans", nargs="+", metavar="SCAN", help="good scans: files, or folders of files and folders")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.json", help="file for the threshold")
    parser.add_argument(
        "--false-alarm-rate",
        type=float,
        default=0.05,
        metavar="RATE",
        help="share of good scans that may be called defective (default: 0.05)",
    )
    predict.add_preparation(parser)


def run(arguments: argparse.Namespace) -> int:
    """Calibrate; 0 where a threshold was written, 1 where a scan could not be read, and nothing was."""
    from pointad_core.errors import InputError
    from pointad_core.predict.calibration import count_above
    from pointad_core.predict.inputs import find_inputs
    from pointad_core.storage.files import check_place

    if arguments.out.suffix.lower() != ".json":
        raise InputError(f"--out is {str(arguments.out)!r}, expected a file whose name ends in .json")
    inputs = find_inputs(arguments.scans, Path(predict.OUT), arguments.intrinsics is not None)
    # Before hours of scoring, not after.
    check_place(arguments.out)
    count_above(len(inputs), arguments.false_alarm_rate)

    from pointad_core.predict.calibration import write_calibration
    from pointad_core.predict.good_scans import calibrate_files

    predictor = predict.load_predictor(arguments)
    found = calibrate_files(predictor, inputs, arguments.false_alarm_rate, predict.watch, predict.say, predict.complain)
    if found is None:
        predict.complain(f"{arguments.out}: is not written; mend these files, or take them away")
        return 1
    write_calibration(arguments.out, found)
    low, high = found.interval
    predict.say(
        f"{arguments.out}: defective above {found.threshold:.4f}; from {found.n} good scans, at most "
        f"{found.false_alarm_rate:.1%} false alarms (of this threshold, with 95% confidence, {low:.1%} to {high:.1%})"
    )
    for note in found.notes:
        predict.say(f"    {note}")
    return 0
