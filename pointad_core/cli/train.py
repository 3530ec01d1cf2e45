"""Learn prompts on scans of your own.

Some eight scans are enough, half of them defective. What they are is said by the folders that they lie in, and where
they are defective by a file beside each:

  mine/good/1.ply
  mine/bad/2.ply              or any other name than good
  mine/bad/2.label.txt        rows `x y z label`, label 1 where the point is defective, in any order; or
  mine/bad/2.label.png        for a scan with rows and columns (tiff, npy, pcd): above 0 where its pixel is defective

A column or property `label` in the scan's own file will do as well. What was learnt is written as a prompts file, and
its losses as CSV beside it.

examples:
  pointad train mine/ --out mine.safetensors
  pointad predict part.ply --prompts mine.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which scans, and how to learn."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the scans, sorted into good/ and bad/")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.safetensors", help="file for the prompts")
    parser.add_argument("--system", default="pointad_plus", help="pointad_plus (the default), pointad, or their _coop")
    parser.add_argument("--name", default="", help="what the scans are of, for systems whose prompts name it (_coop)")
    learning = parser.add_argument_group("how it learns, with the defaults of the config")
    learning.add_argument("--epochs", type=int, default=15, help="passes over the scans (15)")
    learning.add_argument("--batch-size", type=int, default=4, help="scans a step (4)")
    learning.add_argument("--learning-rate", type=float, default=0.001, help="of Adam (0.001)")
    learning.add_argument("--seed", type=int, default=111, help="of the first weights and the scans' order (111)")
    scans = parser.add_argument_group("the scans, as in pointad predict")
    scans.add_argument("--facing", default="auto", help="their front: auto, camera, around, z, or --facing=-z")
    scans.add_argument("--background", default="auto", choices=["auto", "remove", "none"], help="what to do with it")
    scans.add_argument("--unit", help="unit of the files: m, cm, mm, um or inch")
    model = parser.add_argument_group("another backbone than the one that comes with it, by the config's keys")
    model.add_argument("--model", help="name of the model, such as ViT-L-14-336")
    weights = model.add_mutually_exclusive_group()
    weights.add_argument("--pretrained", help="tag of its weights")
    weights.add_argument("--checkpoint", help="file with its weights")
    weights.add_argument("--random-seed", type=int, help="seed of untrained weights")
    model.add_argument("--vv-blocks", type=int, help="last blocks with V-V attention (19)")
    model.add_argument("--deep-blocks", type=int, help="text blocks with learnable tokens (8, without --model 3)")


def run(arguments: argparse.Namespace) -> int:
    """Learn; 0 where the prompts were written."""
    import resource
    import time

    from pointad_core.storage import jobs

    start = time.perf_counter()
    check(arguments)
    # One thread: the same bytes on any number of cores. A GPU is taken where there is one.
    jobs.use(threads=1, gpus=1)

    from pointad_core.predict.orientation import parse
    from pointad_core.predict.scan import Wanted
    from pointad_core.predict.training import train_folder

    options = {key: getattr(arguments, key) for key in ("epochs", "batch_size", "learning_rate")}
    if arguments.deep_blocks is not None or arguments.model is not None:
        options["deep_blocks"] = 8 if arguments.deep_blocks is None else arguments.deep_blocks
    wanted = Wanted(arguments.unit, parse(arguments.facing), arguments.background, rgb=False)
    told = train_folder(
        arguments.folder,
        arguments.out,
        arguments.system,
        options,
        model_of(arguments),
        wanted,
        arguments.seed,
        arguments.name,
    )
    seconds, most = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    side = "all round" if told["around"] else "their front"
    good, defective = len(told["good"]), len(told["defective"])
    print(f"{arguments.out}: learnt on {defective} defective and {good} good scans, looked at from {side}")
    print(f"{told['curve']}: the losses. {seconds:.0f} s, {most:.1f} GB of memory at most")
    return 0


def check(arguments: argparse.Namespace) -> None:
    """InputError for what cannot be, before anything heavy is imported."""
    from pointad_core.errors import InputError
    from pointad_core.storage.files import check_place

    if arguments.out.suffix != ".safetensors":
        raise InputError(f"--out is {str(arguments.out)!r}, expected a file whose name ends in .safetensors")
    check_place(arguments.out)
    curve = arguments.out.with_suffix(".csv")
    if curve.exists() and not curve.read_bytes().startswith(b"epoch,"):
        raise InputError(f"{curve}: is there already, and holds no losses, which would go there; name another --out")
    if not arguments.folder.is_dir():
        raise InputError(f"{arguments.folder}: no such folder")
    for key, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
        if getattr(arguments, key) < least:
            raise InputError(f"--{key.replace('_', '-')} is {getattr(arguments, key)}, expected {least} or more")
    if not 0 < arguments.learning_rate < float("inf"):
        raise InputError(f"--learning-rate is {arguments.learning_rate}, expected a number above 0")


def model_of(arguments: argparse.Namespace) -> dict[str, object] | None:
    """The features' entry of a config that the arguments stand for; None where they name no model."""
    from pointad_core.errors import InputError

    weights = {
        key: getattr(arguments, key)
        for key in ("pretrained", "checkpoint", "random_seed")
        if getattr(arguments, key) is not None
    }
    if arguments.model is None:
        if given := [*weights, *(["vv_blocks"] if arguments.vv_blocks is not None else [])]:
            raise InputError(f"--{given[0].replace('_', '-')} goes with --model")
        return None
    if not weights:
        raise InputError("--model wants its weights: --pretrained, --checkpoint or --random-seed")
    return {
        "model": arguments.model,
        **weights,
        "vv_blocks": 19 if arguments.vv_blocks is None else arguments.vv_blocks,
    }
