"""Hugging Face's DeiT, Swin and ConvNeXt open with the answers that timm's networks of the same weights give."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from abd_app.errors import TeacherRefusedError
from abd_app.intake import open_teacher
from abd_app.networks import catalog
from tests.unit.intake.test_hugging_face import FACTS, IMAGES, Tensors, as_vit, saved_beside

GELU = {"hidden_act": "gelu"}
DEIT = {"architectures": ["DeiTForImageClassificationWithTeacher"], "num_attention_heads": 3, **GELU}
SWIN = {"architectures": ["SwinForImageClassification"], **GELU}
CONVNEXT = {"architectures": ["ConvNextForImageClassification"], **GELU}


def _as_deit(network: nn.Module) -> Tensors:
    theirs = {name.replace("vit.", "deit.", 1): value for name, value in as_vit(network).items()}
    names = {"deit.dist_token": "deit.embeddings.distillation_token"}
    for leaf in ("weight", "bias"):
        names[f"classifier.{leaf}"] = f"cls_classifier.{leaf}"
        names[f"deit.head_dist.{leaf}"] = f"distillation_classifier.{leaf}"
    return {names.get(name, name): value for name, value in theirs.items()}


def _as_swin(network: nn.Module) -> Tensors:
    """With the index that older files store, and that follows from the size of a window."""
    theirs: Tensors = {}
    for name, value in network.state_dict().items():
        name = re.sub(r"^head\.fc\.", "classifier.", name)
        name = name.replace("patch_embed.proj", "swin.embeddings.patch_embeddings.projection")
        name = re.sub(r"^norm\.", "swin.layernorm.", name.replace("patch_embed.norm", "swin.embeddings.norm"))
        down = re.match(r"layers\.(\d)\.downsample\.", name)
        if down:
            name = f"layers.{int(down[1]) - 1}.downsample." + name[down.end() :]
        name = re.sub(r"^layers", "swin.encoder.layers", name)
        for ours, written in (
            ("norm1.", "layernorm_before."),
            ("norm2.", "layernorm_after."),
            ("attn.proj.", "attention.output.dense."),
            ("attn.", "attention.self."),
            ("mlp.fc1.", "intermediate.dense."),
            ("mlp.fc2.", "output.dense."),
        ):
            name = re.sub(rf"(blocks\.\d+\.){re.escape(ours)}", rf"\g<1>{written}", name)
        if ".qkv." in name:
            for part, rows in zip(("query", "key", "value"), value.chunk(3), strict=True):
                theirs[name.replace("qkv", part)] = rows.clone()
        else:
            theirs[name] = value
        if name.endswith("relative_position_bias_table"):
            theirs[name.replace("bias_table", "index")] = torch.arange(49 * 49).view(49, 49)
    return theirs


def _as_convnext(network: nn.Module) -> Tensors:
    def renamed(name: str) -> str:
        for ours, theirs in (
            (r"^stem\.0", "convnext.embeddings.patch_embeddings"),
            (r"^stem\.1", "convnext.embeddings.layernorm"),
            (r"^head\.norm", "convnext.layernorm"),
            (r"^head\.fc", "classifier"),
            (r"^stages\.(\d)\.downsample", r"convnext.encoder.stages.\1.downsampling_layer"),
            (r"^stages\.(\d)\.blocks\.(\d)", r"convnext.encoder.stages.\1.layers.\2"),
            (r"gamma$", "layer_scale_parameter"),
            (r"conv_dw", "dwconv"),
            (r"(layers\.\d\.)norm", r"\1layernorm"),
            (r"mlp\.fc", "pwconv"),
        ):
            name = re.sub(ours, theirs, name)
        return name

    return {renamed(name): value for name, value in network.state_dict().items()}


def _network(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = catalog.build(name, 5).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    return network


def _set_epsilon(network: nn.Module, epsilon: float, prefix: str) -> None:
    for name, module in network.named_modules():
        if isinstance(module, nn.LayerNorm) and name.startswith(prefix):
            module.eps = epsilon


@pytest.mark.parametrize(
    ("name", "convert", "stated", "norms"),
    [
        ("timm/deit_tiny_distilled_patch16_224", _as_deit, DEIT, ""),
        ("timm/swin_tiny_patch4_window7_224", _as_swin, SWIN, None),
        ("timm/convnext_tiny", _as_convnext, CONVNEXT, "head.norm"),
    ],
)
def test_it_answers_as_it_did(
    tmp_path: Path,
    name: str,
    convert: Callable[[nn.Module], Tensors],
    stated: dict[str, object],
    norms: str | None,
) -> None:
    network = _network(name)
    if norms is not None:
        stated = {**stated, "layer_norm_eps": 1e-3}
        _set_epsilon(network, 1e-3, norms)
    teacher = open_teacher(saved_beside(convert(network), stated, tmp_path), FACTS)
    assert teacher.card.architecture == name
    images = IMAGES[:1]
    with torch.no_grad():
        assert torch.allclose(teacher.network(images), network(images), atol=1e-5)
    assert not [one for one in teacher.card.findings if one.severity == "warning"]


def test_a_swin_of_another_small_number_is_refused(tmp_path: Path) -> None:
    """Its blocks would have it and their downsampling would not."""
    tensors = _as_swin(_network("timm/swin_tiny_patch4_window7_224"))
    with pytest.raises(TeacherRefusedError, match="no network that computes") as caught:
        open_teacher(saved_beside(tensors, {**SWIN, "layer_norm_eps": 1e-6}, tmp_path), FACTS)
    assert "layer_norm_eps 1e-06 instead of 1e-05" in caught.value.why
