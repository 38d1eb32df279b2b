"""Hugging Face's own names of layers, turned into those of the libraries whose networks compute the same."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from abd_app.errors import TeacherRefusedError
from abd_app.intake.folding import are_stored
from abd_app.intake.sidecars import printable, read_configuration
from abd_app.teacher import Finding

Tensors = dict[str, torch.Tensor]

_FROM_ONE = ("stage", "at")
"""What torchvision counts from one, and timm's Swin where it halves the resolution: before a stage, not after it."""
_PART = re.compile(r"((?:layers\.\d+\.)?blocks\.\d+\.attn\.)(query|key|value)\.(weight|bias)")
_DERIVED = re.compile(r".*\.relative_position_index")
_MOST_EPSILON = 0.01


@dataclass(frozen=True)
class Layout:
    """The names of one architecture's layers, and with which settings a library's network computes the same.

    Attributes:
        model: As its configuration spells it.
        sign: A tensor that no other architecture has.
        names: (theirs, ours); of the patterns that one counts with which a name begins.
        settings: In its configuration; what an absent key means.
        epsilon: Of LayerNorm, if the configuration does not say; ``None``: as in the library.
        norms: What the names of the LayerNorms that have it begin with.
        heads: Whether the number of attention heads is among its settings.
    """

    model: str
    sign: str
    names: tuple[tuple[str, str], ...]
    settings: Mapping[str, object]
    epsilon: float | None = None
    norms: str = ""
    heads: bool = False


def _block(theirs: str, ours: str, attention: str) -> tuple[tuple[str, str], ...]:
    """The names in one block of a transformer, behind what its own begin with; ``attention``: what theirs call it."""
    return (
        (theirs + r"layernorm_before\.", ours + "norm1."),
        (theirs + r"layernorm_after\.", ours + "norm2."),
        (theirs + attention, ours + "attn."),
        (theirs + r"attention\.output\.dense\.", ours + "attn.proj."),
        (theirs + r"intermediate\.dense\.", ours + "mlp.fc1."),
        (theirs + r"output\.dense\.", ours + "mlp.fc2."),
    )


def _transformer(model: str, sign: str, prefix: str, more: tuple[tuple[str, str], ...]) -> Layout:
    """A plain vision transformer whose names begin with ``prefix``; ``more``: what it has beside that."""
    block = prefix + r"\.encoder\.layer\.(?P<block>\d{1,3})\."
    names = (
        (prefix + r"\.embeddings\.cls_token$", "cls_token"),
        (prefix + r"\.embeddings\.position_embeddings$", "pos_embed"),
        (prefix + r"\.embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        *_block(block, "blocks.{block}.", r"attention\.attention\."),
        (prefix + r"\.layernorm\.", "norm."),
        *more,
    )
    settings = {"hidden_act": "gelu", "num_attention_heads": 12}
    return Layout(model, sign, names, settings, epsilon=1e-12, heads=True)


_VIT = _transformer("ViTForImageClassification", "vit.embeddings.cls_token", "vit", ((r"classifier\.", "head."),))
_DEIT = _transformer(
    "DeiTForImageClassificationWithTeacher",
    "distillation_classifier.weight",
    "deit",
    (
        (r"deit\.embeddings\.distillation_token$", "dist_token"),
        (r"cls_classifier\.", "head."),
        (r"distillation_classifier\.", "head_dist."),
    ),
)
_SWIN_BLOCK = r"swin\.encoder\.layers\.(?P<layer>[0-3])\.blocks\.(?P<block>\d{1,3})\."
_SWIN = Layout(
    "SwinForImageClassification",
    "swin.embeddings.patch_embeddings.projection.weight",
    (
        (r"swin\.embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"swin\.embeddings\.norm\.", "patch_embed.norm."),
        *_block(_SWIN_BLOCK, "layers.{layer}.blocks.{block}.", r"attention\.self\."),
        (r"swin\.encoder\.layers\.(?P<stage>[0-2])\.downsample\.", "layers.{stage}.downsample."),
        (r"swin\.layernorm\.", "norm."),
        (r"classifier\.", "head.fc."),
    ),
    {"hidden_act": "gelu", "layer_norm_eps": 1e-5},
)
_CONVNEXT_LAYER = r"convnext\.encoder\.stages\.(?P<from>[0-3])\.layers\.(?P<block>\d{1,3})\."
_CONVNEXT = Layout(
    "ConvNextForImageClassification",
    "convnext.embeddings.patch_embeddings.weight",
    (
        (r"convnext\.embeddings\.patch_embeddings\.", "stem.0."),
        (r"convnext\.embeddings\.layernorm\.", "stem.1."),
        (r"convnext\.encoder\.stages\.(?P<from>[1-3])\.downsampling_layer\.", "stages.{from}.downsample."),
        (_CONVNEXT_LAYER + r"layer_scale_parameter$", "stages.{from}.blocks.{block}.gamma"),
        (_CONVNEXT_LAYER + r"dwconv\.", "stages.{from}.blocks.{block}.conv_dw."),
        (_CONVNEXT_LAYER + r"layernorm\.", "stages.{from}.blocks.{block}.norm."),
        (_CONVNEXT_LAYER + r"pwconv(?P<dense>[12])\.", "stages.{from}.blocks.{block}.mlp.fc{dense}."),
        (r"convnext\.layernorm\.", "head.norm."),
        (r"classifier\.", "head.fc."),
    ),
    {"hidden_act": "gelu"},
    epsilon=1e-12,
    norms="head.norm",
)
_STAGE = r"resnet\.encoder\.stages\.(?P<stage>[0-3])\.layers\.(?P<block>\d{1,3})\."
_RESNET = Layout(
    "ResNetForImageClassification",
    "resnet.embedder.embedder.convolution.weight",
    (
        (r"resnet\.embedder\.embedder\.convolution\.", "conv1."),
        (r"resnet\.embedder\.embedder\.normalization\.", "bn1."),
        (_STAGE + r"shortcut\.convolution\.", "layer{stage}.{block}.downsample.0."),
        (_STAGE + r"shortcut\.normalization\.", "layer{stage}.{block}.downsample.1."),
        (_STAGE + r"layer\.(?P<at>[0-2])\.convolution\.", "layer{stage}.{block}.conv{at}."),
        (_STAGE + r"layer\.(?P<at>[0-2])\.normalization\.", "layer{stage}.{block}.bn{at}."),
        (r"classifier\.1\.", "fc."),
    ),
    {"hidden_act": "relu", "downsample_in_bottleneck": False, "downsample_in_first_stage": False},
)
_LAYOUTS = (_VIT, _DEIT, _SWIN, _CONVNEXT, _RESNET)


def in_library_names(tensors: Tensors) -> tuple[Tensors, Layout] | None:
    """The tensors under timm's or torchvision's names, and what they were; ``None`` if the names are none of these."""
    layout = next((one for one in _LAYOUTS if one.sign in tensors), None)
    if layout is None:
        return None
    own = {name: value for name, value in tensors.items() if not _DERIVED.fullmatch(name)}
    renamed = {_renamed(name, layout): value for name, value in own.items()}
    if len(renamed) < len(own):
        return None
    return _with_joined_parts(renamed), layout


def settled(network: nn.Module, layout: Layout, original: Path) -> Finding:
    """Makes a library's network compute what the file's does, as ``config.json`` beside it says; what was assumed.

    Raises:
        TeacherRefusedError: It computes something else.
    """
    stated = _configuration(layout, original)
    needed = dict(layout.settings)
    if layout.heads:
        attention = dict(network.named_modules()).get("blocks.0.attn")
        needed["num_attention_heads"] = getattr(attention, "num_heads", None)
    theirs = needed if stated is None else {key: stated.get(key, usual) for key, usual in layout.settings.items()}
    differing = [
        f"{key} {printable(theirs[key])} instead of {needed[key]}" for key in needed if theirs[key] != needed[key]
    ]
    epsilon = (stated or {}).get("layer_norm_eps", layout.epsilon)
    if layout.epsilon and not (isinstance(epsilon, float) and 0 < epsilon < _MOST_EPSILON):
        differing.append(f"layer_norm_eps {printable(epsilon)}")
    if differing:
        raise TeacherRefusedError(
            f"The app has no network that computes what this {layout.model} does.",
            where=str(original),
            why=f"The config.json beside it asks for {', '.join(differing)}.",
            remedy="Export the model as ONNX and open that.",
        )
    for name, module in network.named_modules():
        if isinstance(module, nn.LayerNorm) and layout.epsilon and name.startswith(layout.norms):
            module.eps = epsilon
    used = ", ".join(f"{key} {value}" for key, value in needed.items())
    used += f", layer_norm_eps {epsilon}" if layout.epsilon else ""
    if stated is None:
        detail = f"There is no config.json of it beside the file. Assumed: {used}."
        return Finding("warning", f"Read as a {layout.model} of the usual settings", detail)
    return Finding("info", f"Read as a {layout.model}", f"With the settings of config.json: {used}.")


def stated_model(original: Path) -> str | None:
    """The name of the network's class, as ``config.json`` beside it spells it."""
    named = (read_configuration(original) or {}).get("architectures")
    return printable(named[0]) if isinstance(named, list) and named and isinstance(named[0], str) else None


def _configuration(layout: Layout, original: Path) -> Mapping[Any, Any] | None:
    return read_configuration(original) if stated_model(original) == layout.model else None


def _renamed(name: str, layout: Layout) -> str:
    for theirs, ours in layout.names:
        if match := re.match(theirs, name):
            numbers = {group: int(text) + (group in _FROM_ONE) for group, text in match.groupdict().items()}
            return ours.format(**numbers) + name[match.end() :]
    return name


def _with_joined_parts(tensors: Tensors) -> Tensors:
    """Queries, keys and values of a layer as one tensor; all as they are if they repeat what is stored once."""
    parts: dict[str, Tensors] = defaultdict(dict)
    for name, value in tensors.items():
        if match := _PART.fullmatch(name):
            parts[f"{match[1]}qkv.{match[3]}"][match[2]] = value
    whole = {
        name: [held[part] for part in ("query", "key", "value")]
        for name, held in parts.items()
        if len(held) == 3 and len({value.shape for value in held.values()}) == 1 and held["query"].dim()
    }
    if not are_stored([value for held in whole.values() for value in held]):
        return tensors
    left = {name: value for name, value in tensors.items() if _PART.sub(r"\1qkv.\3", name) not in whole}
    return left | {name: torch.cat(held) for name, held in whole.items()}
