"""Build a CLIP, the frozen encoders of Sec. 3.4, with the weights that an entry of the config's `features` names."""

import difflib
import logging
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from pointad_core.clip.checkpoints import read_checkpoint
from pointad_core.clip.models_index import (
    MODELS,
    OPENAI_NUMBERS,
    bundled_weights,
    check_model,
    choose_quick_gelu,
    quick_gelu_of,
)
from pointad_core.clip.precision import check_precision, choose_precision
from pointad_core.clip.tower import Clip
from pointad_core.errors import InputError
from pointad_core.imports import import_open_clip

logger = logging.getLogger(__name__)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep open_clip from writing to the root logger ("initialized randomly" is meant here, or remedied at once).

    A handler is there meanwhile: without one, its first message would set up the root logger for good.
    """
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, [logging.NullHandler()]
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        root.handlers = handlers


def import_models() -> ModuleType:
    """open_clip with this package's models beside its own."""
    open_clip = import_open_clip()
    # It registers by scanning the folder; once is enough.
    if not {config.stem for config in MODELS.glob("*.json")} <= set(open_clip.list_models()):
        open_clip.add_model_config(MODELS)
    return open_clip


def load_clip(
    model: str,
    vv_blocks: int,
    *,
    pretrained: str | None = None,
    checkpoint: str | Path | None = None,
    random_seed: int | None = None,
    quick_gelu: bool | None = None,
    resolution: int | None = None,
    precision: str = "float32",
    device: str | torch.device = "cpu",
) -> Clip:
    """Build a CLIP by its open_clip name, with weights from exactly one of three sources, in float32.

    model: a name that open_clip lists, or a model of this package ("pointad-pocket"). vv_blocks: number of last vision
    blocks with V-V attention, 1 <= vv_blocks < depth (the paper's code: 19 of 24). pretrained: a tag of open_clip,
    whose weights are downloaded once, or of this package ("shapes" of "pointad-pocket"). checkpoint: a local file, see
    `checkpoints`. random_seed: of weights drawn by the model's own initialisation; no global generator is moved.
    resolution: where given, must be the model's image size. precision: a name of `choose_precision`, of the products in
    the vision tower's blocks, whose weights are kept in it; the text tower stays in float32.

    quick_gelu: whether the weights need QuickGELU, as OpenAI's do. It is known of weights with a tag, of an archive of
    OpenAI's own and of files that say so (`models_index.quick_gelu_of`), and said by a model's name that ends in
    "-quickgelu"; of any other file of a model that exists both ways, it must be given.

    Raises InputError for a model, tag or file that does not exist, a failing download, a checkpoint that does not
    fit, one of which it is not known whether it needs QuickGELU, a model whose towers are not CLIP's transformers, and
    a precision in which the device does not compute.
    """
    kind = choose_precision(precision, torch.device(device))
    check_precision(kind, torch.device(device))
    open_clip = import_models()
    sources = {"pretrained": pretrained, "checkpoint": checkpoint, "random_seed": random_seed}
    given = [key for key, value in sources.items() if value is not None]
    if len(given) != 1:
        raise InputError(f"weights of {model!r}: give exactly one of {list(sources)}, found {given or 'none'}")
    config = open_clip.get_model_config(model) if ":" not in model else None
    if config is None:
        raise InputError(f"unknown model {model!r}, {_close_names(model, open_clip.list_models())}")
    check_model(model, config, vv_blocks, resolution)

    constants = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    said = None
    bundled = bundled_weights(model)
    origin = checkpoint
    if pretrained in bundled:
        origin, said = bundled[pretrained], config.get("quick_gelu", False)
    elif pretrained is not None:
        tag = open_clip.get_pretrained_cfg(model, pretrained)
        if not tag:
            known = [*open_clip.list_pretrained_tags_by_model(model), *bundled]
            told = _close_names(pretrained, known) if known else "nor any others: give a local checkpoint"
            raise InputError(f"model {model!r} has no pretrained weights {pretrained!r}, {told}")
        # open_clip only warns where name and tag disagree, and builds the wrong activation.
        said = tag.get("quick_gelu", False)
        constants |= {key: tag[key] for key in constants if key in tag}
        origin = _download(open_clip, model, pretrained, tag)
    tensors = read_checkpoint(origin) if origin is not None else {}
    if checkpoint is not None:
        said = quick_gelu_of(checkpoint)
    elif random_seed is not None:
        said = config.get("quick_gelu", False) if quick_gelu is None else quick_gelu
    source = f"the file {checkpoint}" if checkpoint is not None else f"the tag {pretrained!r}"
    quick_gelu = choose_quick_gelu(model, config, quick_gelu, said, source, open_clip.list_models())
    if checkpoint is not None:
        logger.info("%s: %s is built with %s", checkpoint, model, "QuickGELU" if quick_gelu else "GELU")

    network = _build(open_clip, model, quick_gelu, random_seed)
    if origin is not None:
        if hasattr(network, "text"):
            tensors = open_clip.model.convert_to_custom_text_state_dict(tensors)
        _fill(network, tensors, model, origin)
    network.eval().requires_grad_(False).to(device)
    if kind != torch.float32:
        for module in network.get_submodule("visual.transformer.resblocks").modules():
            if isinstance(module, nn.Linear | nn.MultiheadAttention):
                module.to(kind)
    merges = MODELS / f"{model}.bpe.gz"
    with _quiet():
        tokenizer = open_clip.SimpleTokenizer(str(merges)) if merges.exists() else open_clip.get_tokenizer(model)
    mean, std = torch.tensor(list(constants.values()), dtype=torch.float32, device=device)[..., None, None]
    return Clip(model, network, tokenizer, vv_blocks, mean, std, kind)


def load_model(model: Mapping[str, Any], device: str | torch.device) -> Clip:
    """The CLIP that an entry of the config's `features` names; with the key `resolution`, of that image size."""
    options = {key: model.get(key) for key in ("pretrained", "checkpoint", "random_seed", "quick_gelu", "resolution")}
    precision = model.get("precision", "float32")
    return load_clip(model["model"], model["vv_blocks"], **options, precision=precision, device=device)


def _close_names(name: str, known: Collection[str]) -> str:
    """What an error says of a name that is not known."""
    lower = {entry.lower(): entry for entry in known}
    if close := difflib.get_close_matches(name.lower(), lower, n=5, cutoff=0.5):
        return f"close names are {[lower[match] for match in close]}"
    return f"known are {list(known)}" if len(known) <= 30 else "open_clip.list_models() lists what it can build"


def _build(open_clip: ModuleType, model: str, quick_gelu: bool, seed: int | None) -> nn.Module:
    """The network, with weights drawn from the seed alone, or to be filled from a file where there is no seed."""
    with torch.random.fork_rng(devices=[]), _Undrawn() if seed is None else nullcontext(), _quiet():
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        return open_clip.create_model(
            model, precision="fp32", device="cpu", force_quick_gelu=quick_gelu, pretrained_text=False
        )


class _Undrawn(TorchFunctionMode):
    """Within it no random number is drawn: tensors that would hold some hold whatever is in memory.

    Drawing weights that a file replaces costs 14 s for a ViT-L. The meta device draws nothing either, but the first
    number that a tensor on it is multiplied with imports torch's compiler, which takes more than a second.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is torch.randn:
            return torch.empty(*args, **kwargs)
        if getattr(function, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return function(*args, **kwargs)


def _download(open_clip: ModuleType, model: str, tag: str, config: dict[str, Any]) -> str:
    try:
        with _quiet():
            return open_clip.download_pretrained(config)
    except Exception as error:  # of urllib, of the hub's client, of the disk
        reason = str(error).split("\n")[0]
        raise InputError(
            f"the weights {tag!r} of {model!r} could not be downloaded ({type(error).__name__}: {reason}); where "
            "there is no network, download them elsewhere and give the file as `checkpoint` instead of `pretrained`"
        ) from error


def _fill(network: nn.Module, tensors: dict[str, torch.Tensor], model: str, origin: str | Path) -> None:
    """Put the weights into the network; InputError names the file and the first keys that do not fit.

    Nothing is resized or left out: position tables of another image size are a misfit, too.
    """
    expected = network.state_dict()
    # Numbers of OpenAI's archives, and masks that TorchScript stores though the model builds them itself.
    ignored = OPENAI_NUMBERS | ({name for name, _ in network.named_buffers()} - expected.keys())
    tensors = {name: tensor for name, tensor in tensors.items() if name not in ignored}
    # Older files store these single numbers with another number of axes.
    for name in tensors.keys() & expected.keys() & {"logit_scale", "logit_bias"}:
        if tensors[name].numel() == expected[name].numel() == 1:
            tensors[name] = tensors[name].reshape(expected[name].shape)
    sizes = {name: (list(tensors[name].shape), list(expected[name].shape)) for name in expected if name in tensors}
    misfits = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - expected.keys()),
        "of another shape": [
            f"{name} {found} instead of {own}" for name, (found, own) in sizes.items() if found != own
        ],
        "not finite": [name for name in sizes if not tensors[name].isfinite().all()],
    }
    told = [
        f"{label}: {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        for label, names in misfits.items()
        if names
    ]
    if told:
        raise InputError(f"{origin}: this checkpoint does not fit model {model!r}; {'; '.join(told)}")
    network.load_state_dict(tensors)
