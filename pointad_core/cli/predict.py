"""Show where scans are defective, and how much.

Reads scans, looks at them from several sides, and writes for each a page to turn it in (HTML), a coloured point cloud
(PLY), a score for every point (npz, and csv up to 500,000 points), a picture (PNG), and words and numbers (JSON). What
was found of a file (its unit, its front, a background that was left out) is said, and can be said otherwise.

examples:
  pointad predict part.ply
  pointad predict scans/ --out results/mine
  pointad predict part.ply --prompts results/prompts/pointad_plus/mvtec3d/carrot/111.safetensors
  pointad predict part.ply --threshold part.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from pointad_core.errors import InputError

if TYPE_CHECKING:
    from pointad_core.predict.inputs import Input
    from pointad_core.predict.predictor import Predictor

OUT = "results/predictions"
SETTINGS = ("smoothing_sigma", "smoothing_over", "rgb_map", "object_share", "view_weights")
"""Keys of a method that say how its scores are put together, and are no part of what is learnt."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be said of the scans, and of what shall come out."""
    parser.add_argument("scans", nargs="+", metavar="SCAN", help="files, or folders of files and folders")
    parser.add_argument("--out", default=OUT, metavar="DIR", help=f"results go to DIR/<name>/ (default: {OUT})")
    parser.add_argument("--threshold", type=Path, metavar="FILE", help="what pointad calibrate wrote: a yes or no")
    add_preparation(parser)


def add_preparation(parser: argparse.ArgumentParser) -> None:
    """What every command takes that scores scans of one's own."""
    parser.add_argument("--prompts", type=Path, metavar="FILE", help="prompts of your own (default: the package's)")
    parser.add_argument("--name", default="object", help="what the scans are of, for prompts that name it")
    parser.add_argument("--unit", help="of the files: m, cm, mm, um or inch (default: found from the size)")
    parser.add_argument(
        "--facing",
        default="auto",
        metavar="SIDE",
        help="front of the scans: auto, camera, around, x, -x, y, -y, z, -z or a direction such as 0,1,1 "
        "(--facing=-z with its sign)",
    )
    parser.add_argument(
        "--background",
        choices=("auto", "remove", "none"),
        default="auto",
        help="leave a plane out behind or below the part: where one fills most of the scan, always, or never",
    )
    parser.add_argument(
        "--stray", choices=("remove", "keep"), default="remove", help="points far from all others (default: remove)"
    )
    parser.add_argument("--point-size", type=int, metavar="PIXELS", help="of a drawn point (default: closes the gaps)")
    parser.add_argument("--no-rgb", action="store_true", help="leave photographs out")
    parser.add_argument(
        "--intrinsics", metavar="FX,FY,CX,CY", help="of the camera, in pixels: png files are depth images then"
    )
    parser.add_argument("--device", help="cpu, cuda or cuda:1 (default: a GPU where there is one)")
    scores = parser.add_argument_group(
        "how scores are put together; a prompts file does not say it: give what its method has in the config"
    )
    scores.add_argument("--smoothing-sigma", type=float, metavar="PIXELS", help="of the Gaussian (default: 4)")
    scores.add_argument(
        "--smoothing-over", choices=("pixels", "points"), help="empty pixels count as 0 (the default), or not at all"
    )
    scores.add_argument(
        "--rgb-map", choices=("points", "pixels"), help="of a photograph the part (the default), or all of it"
    )
    scores.add_argument(
        "--object-share",
        type=float,
        metavar="SHARE",
        help="score a scan by the mean of its highest scores, of this share of its points (default: by the highest)",
    )
    scores.add_argument(
        "--view-weights",
        choices=("mean", "incidence", "coverage", "sharpness"),
        help="what the views of a point count by (default: all alike)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Predict; 0 where every scan was read, 1 where one was not."""
    from pointad_core.predict.inputs import find_inputs

    out = Path(arguments.out)
    inputs = find_inputs(arguments.scans, out, arguments.intrinsics is not None)
    predictor = load_predictor(arguments)
    from pointad_core.predict.batch import predict_files

    done = predict_files(predictor, inputs, out, watch, say, complain)
    if done.summaries:
        first = inputs[0].name
        page = out / "index.html" if len(inputs) > 1 else out / first / f"{Path(first).name}.html"
        failed = f", {len(done.failures)} failed" if done.failures else ""
        say(f"{len(done.summaries)} of {len(inputs)} scans{failed}; open {page}")
    return 1 if done.failures else 0


def load_predictor(arguments: argparse.Namespace) -> Predictor:
    """The predictor that the arguments of `add_preparation` describe."""
    from pointad_core.imports import import_torch

    import_torch()
    from pointad_core.formats.unit import metres_of
    from pointad_core.predict import orientation
    from pointad_core.predict.predictor import Predictor
    from pointad_core.predict.scan import Wanted

    if arguments.unit is not None:
        metres_of(arguments.unit)
    check_device(arguments.device)
    wanted = Wanted(
        unit=arguments.unit,
        facing=orientation.parse(arguments.facing),
        background=arguments.background,
        stray=arguments.stray,
        rgb=not arguments.no_rgb,
        point_size=arguments.point_size,
        intrinsics=parse_intrinsics(arguments.intrinsics),
    )
    threshold = getattr(arguments, "threshold", None)  # `pointad calibrate` has none yet
    settings = {key: value for key in SETTINGS if (value := getattr(arguments, key)) is not None}
    if not 0 <= (sigma := settings.get("smoothing_sigma", 0)) <= 336:
        raise InputError(f"--smoothing-sigma is {sigma:g}, expected 0 to 336 pixels")
    return Predictor.load(wanted, arguments.prompts, arguments.device, arguments.name, threshold, settings)


def check_device(device: str | None) -> None:
    """InputError for a device that torch does not know or this machine does not have."""
    if device is None:
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--device is {device!r}, which cannot be used ({reason}); expected cpu or cuda") from None


def parse_intrinsics(text: str | None) -> tuple[float, float, float, float] | None:
    """fx, fy, cx, cy of a text; InputError for any other."""
    if text is None:
        return None
    try:
        fx, fy, cx, cy = (float(word) for word in text.split(","))
    except ValueError:
        raise InputError(f"--intrinsics is {text!r}, expected four numbers: fx,fy,cx,cy in pixels") from None
    return fx, fy, cx, cy


def watch(inputs: Sequence[Input]) -> Iterator[Input]:
    """Pass scans through, under a bar where there are several and someone is looking."""
    if len(inputs) == 1 or not sys.stderr.isatty():
        yield from inputs
        return
    from tqdm import tqdm

    yield from tqdm(inputs, unit="scan", leave=False)


def say(text: str) -> None:
    """A line for the user, above the bar if there is one; what came out of a file is shown as it can be."""
    _print(text, sys.stdout)


def complain(text: str) -> None:
    """A line about what failed."""
    _print(f"pointad: {text}", sys.stderr)


def _print(text: str, file: TextIO) -> None:
    from pointad_core.storage.jobs import printable

    if "tqdm" in sys.modules:
        from tqdm import tqdm

        tqdm.write(printable(text), file=file)
    else:
        print(printable(text), file=file, flush=True)
