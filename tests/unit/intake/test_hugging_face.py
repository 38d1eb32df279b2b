"""Folders of Hugging Face's own classifiers open with the answers that they had, or not at all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from abd_app.errors import TeacherRefusedError
from abd_app.intake import open_teacher
from abd_app.intake.hugging_face import in_library_names
from abd_app.networks import catalog
from abd_app.plan import TeacherFacts

Tensors = dict[str, torch.Tensor]

FACTS = TeacherFacts(input_size=(224, 224), mean=(0.0,) * 3, std=(1.0,) * 3)
IMAGES = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
VIT = {"architectures": ["ViTForImageClassification"], "num_attention_heads": 3, "hidden_act": "gelu"}
RESNET = {"architectures": ["ResNetForImageClassification"], "layer_type": "basic"}
THEIR_BLOCK = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


def as_vit(network: nn.Module) -> Tensors:
    theirs: Tensors = {}
    for name, value in network.state_dict().items():
        block, leaf = re.match(r"(?:blocks\.(\d+)\.)?", name), name.rpartition(".")[2]
        assert block is not None
        layer = f"vit.encoder.layer.{block[1]}."
        if ".qkv." in name:
            for part, rows in zip(("query", "key", "value"), value.chunk(3), strict=True):
                theirs[f"{layer}attention.attention.{part}.{leaf}"] = rows.clone()
        elif block[1]:
            theirs[f"{layer}{THEIR_BLOCK[name[block.end() :].rpartition('.')[0]]}.{leaf}"] = value
        else:
            name = name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
            name = name.replace("cls_token", "embeddings.cls_token").replace(
                "pos_embed", "embeddings.position_embeddings"
            )
            theirs[
                f"classifier.{leaf}" if name.startswith("head.") else f"vit.{name.replace('norm.', 'layernorm.')}"
            ] = value
    return theirs


def _as_resnet(network: nn.Module) -> Tensors:
    def renamed(name: str) -> str:
        name = re.sub(r"^fc\.", "classifier.1.", name)
        name = re.sub(r"^(conv|bn)1\.", r"resnet.embedder.embedder.\g<1>.", name)
        place = re.match(r"layer(\d)\.(\d)\.", name)
        if place:
            name = f"resnet.encoder.stages.{int(place[1]) - 1}.layers.{place[2]}." + name[place.end() :]
        name = name.replace("downsample.0.", "shortcut.conv.").replace("downsample.1.", "shortcut.bn.")
        name = re.sub(r"\.(conv|bn)(\d)\.", lambda match: f".layer.{int(match[2]) - 1}.{match[1]}.", name)
        return name.replace(".conv.", ".convolution.").replace(".bn.", ".normalization.")

    return {renamed(name): value for name, value in network.state_dict().items()}


def _vit(epsilon: float = 1e-12) -> nn.Module:
    torch.manual_seed(0)
    network = catalog.build("timm/vit_tiny_patch16_224", 5).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    for module in network.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = epsilon
    return network


def saved_beside(tensors: Tensors, configuration: dict[str, object] | None, folder: Path) -> str:
    save_file(tensors, folder / "model.safetensors")
    if configuration is not None:
        (folder / "config.json").write_text(json.dumps(configuration))
    return str(folder / "model.safetensors")


@pytest.mark.parametrize("epsilon", [None, 1e-12, 1e-3])
def test_a_vision_transformer_answers_as_it_did(tmp_path: Path, epsilon: float | None) -> None:
    network = _vit(epsilon or 1e-12)
    stated = VIT if epsilon is None else {**VIT, "layer_norm_eps": epsilon}
    teacher = open_teacher(saved_beside(as_vit(network), stated, tmp_path), FACTS)
    assert teacher.card.architecture == "timm/vit_tiny_patch16_224"
    assert torch.allclose(teacher.network(IMAGES), network(IMAGES), atol=1e-5)
    assert not [one for one in teacher.card.findings if one.severity == "warning"]
    changed = _vit(1e-6 if epsilon == 1e-3 else 1e-3)(IMAGES)
    assert not torch.allclose(teacher.network(IMAGES), changed, atol=1e-4), "the small number in LayerNorm matters"


def test_a_residual_network_answers_as_it_did(tmp_path: Path) -> None:
    network = catalog.build("torchvision/resnet18", 5).train()
    with torch.no_grad():
        network(torch.rand(4, 3, 64, 64))
    tensors = _as_resnet(network.eval())
    assert "resnet.encoder.stages.1.layers.0.shortcut.normalization.running_var" in tensors
    teacher = open_teacher(saved_beside(tensors, RESNET, tmp_path), FACTS)
    assert teacher.card.architecture == "torchvision/resnet18"
    assert torch.allclose(teacher.network(IMAGES), network(IMAGES), atol=1e-4)
    assert not [one for one in teacher.card.findings if one.severity == "warning"]


@pytest.mark.parametrize("beside", [None, {"architectures": ["BertModel"], "num_attention_heads": 12}])
def test_without_its_configuration_what_is_assumed_is_a_warning(tmp_path: Path, beside: dict[str, object]) -> None:
    teacher = open_teacher(saved_beside(as_vit(_vit()), beside, tmp_path), FACTS)
    (warning,) = [one for one in teacher.card.findings if one.severity == "warning"]
    assert "num_attention_heads 3" in warning.detail and "layer_norm_eps 1e-12" in warning.detail


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_attention_heads": 12}, "num_attention_heads 12 instead of 3"),
        ({"num_attention_heads": [[]]}, "num_attention_heads"),
        ({"hidden_act": "relu"}, "hidden_act relu instead of gelu"),
        ({"layer_norm_eps": 5.0}, "layer_norm_eps 5.0"),
        ({"layer_norm_eps": "x"}, "layer_norm_eps x"),
    ],
)
def test_what_computes_otherwise_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = saved_beside(as_vit(_vit()), {**VIT, **change}, tmp_path)
    with pytest.raises(TeacherRefusedError, match="no network that computes") as caught:
        open_teacher(path, FACTS)
    assert said in caught.value.why and "ONNX" in caught.value.remedy


def test_the_class_of_an_unknown_network_is_named(tmp_path: Path) -> None:
    tensors = {f"convnext.encoder.{index}.weight": torch.ones(3) for index in range(4)}
    with pytest.raises(TeacherRefusedError, match="no image classifier") as caught:
        open_teacher(saved_beside(tensors, {"architectures": ["ConvNextForImageClassification"]}, tmp_path), FACTS)
    assert "ConvNextForImageClassification" in caught.value.why


def test_names_that_would_become_one_and_parts_that_repeat_stay() -> None:
    sign = {"vit.embeddings.cls_token": torch.ones(1)}
    twice = {f"vit.encoder.layer.{block}.layernorm_before.weight": torch.ones(1) for block in ("1", "01")}
    assert in_library_names(sign | twice) is None
    assert in_library_names(twice) is None
    prefix, repeated = "vit.encoder.layer.0.attention.attention.", torch.ones(1).expand(100, 9)
    found = in_library_names(sign | {f"{prefix}{part}.weight": repeated for part in ("query", "key", "value")})
    assert found is not None and "blocks.0.attn.query.weight" in found[0]
