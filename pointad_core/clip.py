"""CLIP for PointAD: any ViT that open_clip can build, with V-V attention and learnable prompts beside it.

Image side (Sec. 3.4 and its AnomalyCLIP ancestry). One pass through the tower gives two streams of local
features. `plain` is CLIP's own: ln_post(z_L) @ proj of the patch tokens. `vv` is a second residual stream that
starts at z_{L-m} and adds, in each of the last m blocks, that block's attention with queries and keys replaced
by values, read from the *original* stream:

    y = z_{L-m} + sum_{l > L-m} proj_l(VV_l(LN1_l(z_{l-1}))),    VV = softmax(v v^T / sqrt(head width)) v

and ends in ln_post(y) @ proj. It has no MLP; the class token takes part in it. The global feature is
ln_post(z_L[CLS]) @ proj for both. Nothing of the model is changed: the blocks' weights are only read.

Text side. `encode_prompts` is CLIP's text tower on token embeddings, with the deep text prompts of AnomalyCLIP:
at the input of blocks 2, 3, ... the tokens after the start token are overwritten.
"""

from __future__ import annotations

import difflib
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from pointad_core.checkpoints import is_openai_archive, read_checkpoint
from pointad_core.errors import InputError
from pointad_core.open_clip_import import import_open_clip

STREAMS = ("vv", "plain")

logger = logging.getLogger(__name__)

_MODELS = Path(__file__).parent / "models"


def _open_clip() -> ModuleType:
    """open_clip, with the models of this package registered. Imported late: it costs half a second."""
    open_clip = import_open_clip()
    # open_clip registers by scanning the folder; once is enough.
    if not {config.stem for config in _MODELS.glob("*.json")} <= set(open_clip.list_models()):
        open_clip.add_model_config(_MODELS)
    return open_clip


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep open_clip from writing to the root logger ("initialized randomly" is meant here, or remedied at once).

    A handler is there meanwhile: without one, its first message would set up the root logger for good.
    """
    root, silent = logging.getLogger(), logging.NullHandler()
    level = root.level
    root.addHandler(silent)
    root.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
        root.removeHandler(silent)


@dataclass(frozen=True)
class Clip:
    """A frozen CLIP. Sizes: S = `resolution`, P = `grid`**2 patches, d = `dim`, dt = `text_width`."""

    name: str
    model: Any  # open_clip's CLIP or CustomTextCLIP
    tokenizer: Any
    vv_blocks: int
    mean: torch.Tensor
    std: torch.Tensor

    @property
    def device(self) -> torch.device:
        return self.mean.device

    @property
    def visual(self) -> Any:
        return self.model.visual

    @property
    def text(self) -> Any:
        """The text tower; models of OpenAI's form have its parts on the model itself."""
        return self.model.text if hasattr(self.model, "text") else self.model

    @property
    def resolution(self) -> int:
        return int(self.visual.image_size[0])

    @property
    def grid(self) -> int:
        """Patches a side."""
        return int(self.visual.grid_size[0])

    @property
    def dim(self) -> int:
        """Width of the space that images and texts share."""
        return int(self.visual.output_dim)

    @property
    def text_width(self) -> int:
        return int(self.text.token_embedding.weight.shape[1])

    @property
    def text_blocks(self) -> int:
        return len(self.text.transformer.resblocks)

    @property
    def context_length(self) -> int:
        return int(self.model.context_length)

    # Images ---------------------------------------------------------------------------------------------------

    def encode_images(self, images: torch.Tensor, streams: Sequence[str] = STREAMS) -> dict[str, torch.Tensor]:
        """Global and local features of images (Sec. 3.4).

        images: float32 [B, 3, S, S] in 0..1; the model's own mean and deviation are applied here.
        Returns float32, L2-normalised: "global" [B, d] and, for each stream asked for, "patches_vv" or
        "patches_plain" [B, P, d], patches in row-major order. Raises ValueError for another shape or stream.
        """
        size = self.resolution
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, size, size):
            raise ValueError(f"images are {list(images.shape)}, expected [B, 3, {size}, {size}]")
        if unknown := set(streams) - set(STREAMS):
            raise ValueError(f"unknown streams {sorted(unknown)}, allowed are {list(STREAMS)}")
        return self.encode_tokens(self.embed_patches(images), streams)

    def embed_patches(self, images: torch.Tensor) -> torch.Tensor:
        """Tokens [B, 1 + P, C] before the first block, of images as in `encode_images`; the class token first."""
        return self.visual._embeds((images.to(self.device) - self.mean) / self.std)

    def encode_tokens(self, z: torch.Tensor, streams: Sequence[str] = STREAMS) -> dict[str, torch.Tensor]:
        """The blocks of `encode_images` on tokens float32 [B, 1 + p, C], all patches' or some."""
        y = z
        blocks = self.visual.transformer.resblocks
        first = len(blocks) - self.vv_blocks
        for index, block in enumerate(blocks):
            if index == first:
                y = z
            z, vv = _vision_block(block, z, with_vv="vv" in streams and index >= first)
            if vv is not None:
                y = y + vv
        features = {"global": self._project(z[:, 0])}
        if "vv" in streams:
            features["patches_vv"] = self._project(y[:, 1:])
        if "plain" in streams:
            features["patches_plain"] = self._project(z[:, 1:])
        return features

    def _project(self, tokens: torch.Tensor) -> torch.Tensor:
        return F.normalize((self.visual.ln_post(tokens) @ self.visual.proj).float(), dim=-1)

    # Texts ----------------------------------------------------------------------------------------------------

    def tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        """Token ids int64 [m, context length]: start token, text, end token, padding."""
        return self.tokenizer(list(texts)).to(self.device)

    def end_positions(self, tokens: torch.Tensor) -> torch.Tensor:
        """Position of the end token, whose output is the text's feature: int64 [m]."""
        if _pool_type(self.model) == "eos":
            return (tokens == _end_token(self.model)).int().argmax(dim=-1)
        return tokens.argmax(dim=-1)

    def embed_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Token embeddings [m, context length, dt], without positions."""
        return self.text.token_embedding(tokens)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """L2-normalised features float32 [m, d] of plain texts, by the model's own text tower."""
        return F.normalize(self.model.encode_text(self.tokenize(texts)).float(), dim=-1)

    def encode_prompts(
        self, embeddings: torch.Tensor, ends: torch.Tensor, deep: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Features of prompts given as token embeddings, with deep text prompts.

        embeddings: float32 [m, L <= context length, dt], without positions (`embed_tokens`, with learnable
        context put in); ends: int64 [m], position of the end token (`end_positions`); deep: float32 [b, t, dt]
        or None. Before block i+2 (1-based) the tokens at positions 1..t are overwritten by deep[i], the same for
        all prompts; block 1 gets none. Returns float32 [m, d], L2-normalised, differentiable with respect to
        `embeddings` and `deep`. Raises InputError if the tower has fewer than b+1 blocks.
        """
        text = self.text
        blocks = text.transformer.resblocks
        n_deep = 0 if deep is None else len(deep)
        if n_deep >= len(blocks):
            raise InputError(
                f"deep_blocks is {n_deep}, but the text tower of {self.name!r} has {len(blocks)} blocks: "
                f"at most {len(blocks) - 1} can be given deep prompts"
            )
        # Under a causal mask no token sees what follows it: all after the last end token can go, exactly.
        length = int(ends.max()) + 1
        x = embeddings[:, :length] + text.positional_embedding[:length]
        mask = text.attn_mask[:length, :length]
        batch_first = text.transformer.batch_first
        for index, block in enumerate(blocks):
            if deep is not None and 1 <= index <= n_deep:
                inserted = deep[index - 1].expand(len(x), -1, -1)
                x = torch.cat([x[:, :1], inserted, x[:, 1 + inserted.shape[1] :]], dim=1)
            x = block(x, attn_mask=mask) if batch_first else block(x.transpose(0, 1), attn_mask=mask).transpose(0, 1)
        x = text.ln_final(x)[torch.arange(len(x), device=x.device), ends]
        projection = text.text_projection
        x = projection(x) if isinstance(projection, nn.Linear) else x @ projection
        return F.normalize(x.float(), dim=-1)


def _vision_block(block: Any, z: torch.Tensor, with_vv: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    """One residual block on [B, N, C], and what it adds to the V-V stream (None where that is not asked for).

    Written out, so that both attentions share the normalised input and the values.
    """
    attention = block.attn
    batch, length, width = z.shape
    qkv = F.linear(block.ln_1(z), attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = qkv.view(batch, length, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)

    def attend(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        mixed = F.scaled_dot_product_attention(queries, keys, v)
        return block.ls_1(attention.out_proj(mixed.transpose(1, 2).reshape(batch, length, width)))

    out = z + attend(q, k)
    out = out + block.ls_2(block.mlp(block.ln_2(out)))
    return out, attend(v, v) if with_vv else None


def _pool_type(model: Any) -> str:
    return model.text.pool_type if hasattr(model, "text") else model.text_pool_type


def _end_token(model: Any) -> int:
    return model.text.eos_id if hasattr(model, "text") else model.text_eos_id


# Loading ------------------------------------------------------------------------------------------------------


def load_clip(
    model: str,
    vv_blocks: int,
    *,
    pretrained: str | None = None,
    checkpoint: str | Path | None = None,
    random_seed: int | None = None,
    resolution: int | None = None,
    device: str | torch.device = "cpu",
) -> Clip:
    """Build a CLIP by its open_clip name, with weights from exactly one of three sources, in float32.

    model: a name that open_clip lists, or a model of this package ("pointad-pocket").
    vv_blocks: number of last vision blocks with V-V attention, 1 <= vv_blocks < depth (the paper's code: 19 of 24).
    pretrained: a tag of open_clip, whose weights are downloaded once, or of weights that come with this package
    ("shapes" of "pointad-pocket"). checkpoint: a local file, see
    `checkpoints`. random_seed: weights drawn by the model's own initialisation; the global generators are left
    as they were. resolution: where given, must be the model's image size.

    QuickGELU is part of what OpenAI's weights mean. It is switched on where the weights are known to need it (the
    tag's entry in open_clip, an archive of OpenAI's own); for any other file the model's name decides, so that
    OpenAI weights converted to another format need the name ending in "-quickgelu".

    Raises InputError for a model, tag or file that does not exist, a failing download, a checkpoint that does not
    fit, and a model whose towers are not CLIP's transformers.
    """
    open_clip = _open_clip()
    sources = {"pretrained": pretrained, "checkpoint": checkpoint, "random_seed": random_seed}
    given = [key for key, value in sources.items() if value is not None]
    if len(given) != 1:
        raise InputError(f"weights of {model!r}: give exactly one of {list(sources)}, found {given or 'none'}")
    config = open_clip.get_model_config(model) if ":" not in model else None
    if config is None:
        raise InputError(f"unknown model {model!r}, {_close(model, open_clip.list_models())}")
    _check_config(model, config, vv_blocks, resolution)

    preprocess = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    quick_gelu = bool(config.get("quick_gelu", False))
    tensors: dict[str, torch.Tensor] | None = None
    origin: str | Path = ""
    if pretrained in (bundled := _bundled_weights(model)):
        origin = bundled[pretrained]
        tensors = read_checkpoint(origin)
    elif pretrained is not None:
        tag = _pretrained_tag(open_clip, model, pretrained)
        # open_clip only warns where name and tag disagree, and builds the wrong activation.
        if quick_gelu and not tag.get("quick_gelu", False):
            raise InputError(f"model {model!r}: the weights {pretrained!r} were not trained with QuickGELU")
        quick_gelu = bool(tag.get("quick_gelu", False))
        preprocess |= {key: tag[key] for key in preprocess if key in tag}
        origin = _download(open_clip, model, pretrained, tag)
        tensors = read_checkpoint(origin)
    elif checkpoint is not None:
        origin = checkpoint
        tensors = read_checkpoint(checkpoint)
        if is_openai_archive(tensors) and not quick_gelu:
            logger.info("%s is an archive of OpenAI's: %s is built with QuickGELU", checkpoint, model)
            quick_gelu = True

    network = _build(open_clip, model, quick_gelu, random_seed)
    if tensors is not None:
        _fill(open_clip, network, tensors, model, origin)
    network.eval().requires_grad_(False).to(device)

    def constant(key: str) -> torch.Tensor:
        return torch.tensor(preprocess[key], dtype=torch.float32, device=device)[:, None, None]

    return Clip(
        name=model,
        model=network,
        tokenizer=_tokenizer(open_clip, model),
        vv_blocks=vv_blocks,
        mean=constant("mean"),
        std=constant("std"),
    )


def _tokenizer(open_clip: ModuleType, model: str) -> Any:
    """A model of this package has a vocabulary of its own beside its description; the others have open_clip's."""
    merges = _MODELS / f"{model}.bpe.gz"
    with _quiet():
        return open_clip.SimpleTokenizer(bpe_path=str(merges)) if merges.exists() else open_clip.get_tokenizer(model)


def load_model(model: Mapping[str, Any], device: str | torch.device) -> Clip:
    """The CLIP that an entry of the config's `features` names; with the key `resolution`, of that image size."""
    return load_clip(
        model["model"],
        model["vv_blocks"],
        pretrained=model.get("pretrained"),
        checkpoint=model.get("checkpoint"),
        random_seed=model.get("random_seed"),
        resolution=model.get("resolution"),
        device=device,
    )


def _close(name: str, known: Iterable[str]) -> str:
    known = list(known)
    lower = {entry.lower(): entry for entry in known}
    close = [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=5, cutoff=0.5)]
    if close:
        return f"close names are {close}"
    return f"known are {known}" if len(known) <= 30 else "open_clip.list_models() lists what it can build"


def _check_config(model: str, config: dict[str, Any], vv_blocks: int, resolution: int | None) -> None:
    """Refuse what the streams above are not defined for, before anything is downloaded or built."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    custom = ("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc")
    reason = None
    if vision.get("timm_model_name"):
        reason = f"its image tower is timm's {vision['timm_model_name']}"
    elif isinstance(vision.get("layers", 12), list):
        reason = "its image tower is a ResNet"
    elif vision.get("attentional_pool") or vision.get("pool_type", "tok") != "tok":
        reason = "its image tower does not pool by the class token"
    elif any(tower.get("block_type") == "custom" or any(map(tower.get, custom)) for tower in (vision, text)):
        reason = "its attention blocks are not CLIP's"
    elif text.get("hf_model_name"):
        reason = f"its text tower is {text['hf_model_name']}"
    elif (
        text.get("embed_cls") or text.get("no_causal_mask") or text.get("pool_type", "argmax") not in ("argmax", "eos")
    ):
        reason = "its text tower does not end in the end token's output under a causal mask"
    elif text.get("proj_type", "linear") == "none":
        reason = "its text tower has no projection"
    if reason:
        raise InputError(f"model {model!r} cannot be used: {reason}; a ViT with CLIP's own text tower is needed")
    depth = vision.get("layers", 12)
    if not 1 <= vv_blocks < depth:
        raise InputError(f"vv_blocks is {vv_blocks}, model {model!r} with {depth} blocks allows 1 to {depth - 1}")
    size = vision.get("image_size", 224)
    if resolution is not None and size not in (resolution, [resolution, resolution]):
        raise InputError(f"resolution is {resolution}, but model {model!r} takes images of {size} pixels")


def _build(open_clip: ModuleType, model: str, quick_gelu: bool, seed: int | None) -> nn.Module:
    """The network, with weights drawn from the seed alone, or to be filled from a file where there is no seed.

    No global generator is moved.
    """
    # Drawing weights that a file replaces costs 14 s for a ViT-L; on the meta device nothing is drawn.
    device = "cpu" if seed is not None else "meta"
    with torch.random.fork_rng(devices=[]), torch.device(device), _quiet():
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        network = open_clip.create_model(
            model, precision="fp32", device=device, force_quick_gelu=quick_gelu, pretrained_text=False
        )
    if seed is None:
        network.to_empty(device="cpu")
        # The causal mask is the one tensor that no checkpoint holds.
        mask = (network.text if hasattr(network, "text") else network).attn_mask
        mask.fill_(float("-inf")).triu_(1)
    return network


def _bundled_weights(model: str) -> dict[str | None, Path]:
    """Weights that come with this package, by their tag."""
    return {path.stem.removeprefix(f"{model}-"): path for path in _MODELS.glob(f"{model}-*.safetensors")}


def _pretrained_tag(open_clip: ModuleType, model: str, tag: str) -> dict[str, Any]:
    config = open_clip.get_pretrained_cfg(model, tag)
    if not config:
        known = [*open_clip.list_pretrained_tags_by_model(model), *_bundled_weights(model)]
        raise InputError(
            f"model {model!r} has no pretrained weights {tag!r}, "
            + (_close(tag, known) if known else "nor any others: give a local checkpoint")
        )
    return config


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


def _fill(
    open_clip: ModuleType, network: nn.Module, tensors: dict[str, torch.Tensor], model: str, origin: str | Path
) -> None:
    """Put the weights into the network; InputError names the file and the first keys that do not fit.

    Nothing is resized or left out: position tables of another image size are a misfit, too.
    """
    tensors = open_clip.factory.convert_state_dict(network, tensors)
    if "positional_embedding" in tensors and not hasattr(network, "positional_embedding"):
        tensors = open_clip.model.convert_to_custom_text_state_dict(tensors)
    expected = network.state_dict()
    # Numbers of OpenAI's archives, and masks that TorchScript stores though the model builds them itself.
    ignored = {"input_resolution", "context_length", "vocab_size"}
    ignored |= {name for name, _ in network.named_buffers()} - expected.keys()
    tensors = {name: tensor for name, tensor in tensors.items() if name not in ignored}
    # Older files store these single numbers with another number of axes.
    for name in ("logit_scale", "logit_bias"):
        if name in tensors and name in expected and tensors[name].numel() == expected[name].numel() == 1:
            tensors[name] = tensors[name].reshape(expected[name].shape)
    problems = []
    for label, names in (
        ("missing", sorted(expected.keys() - tensors.keys())),
        ("unexpected", sorted(tensors.keys() - expected.keys())),
        (
            "of another shape",
            [
                f"{name} {list(tensors[name].shape)} instead of {list(expected[name].shape)}"
                for name in expected
                if name in tensors and tensors[name].shape != expected[name].shape
            ],
        ),
        ("not finite", [name for name in expected if name in tensors and not tensors[name].isfinite().all()]),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            problems.append(f"{label}: {', '.join(names[:3])}{more}")
    if problems:
        raise InputError(f"{origin}: this checkpoint does not fit model {model!r}; {'; '.join(problems)}")
    network.load_state_dict(tensors)
