"""Graphs that were exported for batches of one size answer batches of any as the network did that was exported."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from abd_app.export.onnx_student import export_onnx
from abd_app.intake import open_teacher
from abd_app.intake.onnx_batch import OneByOne
from abd_app.intake.onnx_network import OnnxNetwork
from abd_app.plan import TeacherFacts

PLAIN = TeacherFacts(mean=(0.0,) * 3, std=(1.0,) * 3)


class _Transformer(nn.Module):
    """Patches, a class token, and attention that has its tokens in front of its images."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.attention = nn.MultiheadAttention(8, 2)
        self.head = nn.Linear(8, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(images).flatten(2).permute(0, 2, 1)
        tokens = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1).transpose(0, 1)
        answer: torch.Tensor = self.head((tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0])[0])
        return answer


class _ClassToken(nn.Module):
    """Patches behind a class token, and attention, with images in front: as Vision Transformers are written."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.token, self.register = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 1, 8))
        self.qkv, self.head = nn.Linear(8, 24), nn.Linear(8, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        for learned in (self.register, self.token, self.token):
            tokens = torch.cat([learned.expand(tokens.shape[0], -1, -1), tokens], 1)
        parts = self.qkv(tokens).reshape(tokens.shape[0], tokens.shape[1], 3, 2, 4).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*parts.unbind(0))
        answer: torch.Tensor = self.head(attended.transpose(1, 2).reshape(tokens.shape)[:, 0])
        return answer


class _Windows(nn.Module):
    """Windows of an image as images of their own, a mask for each, and the image put together again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 1), nn.Linear(4, 4)
        self.mask = nn.Buffer(torch.randn(4, 16, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        windows = self.stem(images).reshape(len(images), 4, 2, 4, 2, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, 4)
        masked = windows.reshape(len(images), 4, 16, 4) * self.mask
        whole = masked.reshape(-1, 2, 2, 4, 4, 4).permute(0, 5, 1, 3, 2, 4).reshape(len(images), 4, 8, 8)
        return self.head(whole.relu().mean((2, 3)))  # type: ignore[no-any-return]


class _Scales(nn.Module):
    """A smaller picture, made as large as the first and beside it; and its mean, everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(12, 4, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first = self.stem(images)
        second = F.interpolate(F.avg_pool2d(first, 2).relu(), first.shape[-2:], mode="bilinear")
        mean = first.square().mean((2, 3), keepdim=True).expand(-1, -1, *first.shape[-2:])
        return self.head(torch.cat([first, second, mean], 1)).relu().mean((2, 3))  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")  # of the legacy exporter
@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize("exported", [1, 3])
@pytest.mark.parametrize("build", [_Transformer, _ClassToken, _Windows, _Scales])
def test_any_number_of_images_as_the_network_answers_them(
    build: Callable[[], nn.Module], exported: int, modern: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network, file = build().eval(), str(tmp_path / "net.onnx")
    torch.onnx.export(network, (torch.rand(exported, 3, 8, 8),), file, dynamo=modern, verbose=False)
    teacher = open_teacher(file, PLAIN)
    assert any("batches of" in finding.detail for finding in teacher.card.findings)
    closed = any(isinstance(module, OneByOne) for module in teacher.network.modules())
    several_tokens = build is _ClassToken and exported > 1  # stored as often as there were images
    assert closed == (build is _Transformer or several_tokens), "else the batch is freed"
    titles = [finding.title for finding in teacher.card.findings if finding.severity == "warning"]
    assert ("The graph only works at its exported batch size" in titles) == closed
    assert closed != any(finding.title == "No BatchNorm layers" for finding in teacher.card.findings)
    for count in (1, 2, 3, 6, 7):
        images = torch.rand(count, 3, 8, 8)
        assert torch.allclose(teacher.network(images), network(images), atol=1e-5), count


def test_a_transformer_that_was_freed_of_its_batch_is_exported_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = str(tmp_path / "net.onnx")
    torch.onnx.export(_ClassToken().eval(), (torch.rand(1, 3, 8, 8),), file, dynamo=True, verbose=False)
    teacher = open_teacher(file, PLAIN)
    images = torch.randint(256, (256, 3, 8, 8), dtype=torch.uint8)
    assert export_onnx(teacher.network, teacher.spec, tmp_path / "again.onnx", metadata={}, images=images) < 1e-3


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")  # of the legacy exporter
def test_a_transformer_that_computes_its_shapes_is_exported_again(tmp_path: Path) -> None:
    """PyTorch's tracer ends the process on such a graph as it is."""
    torch.manual_seed(0)
    network, file = _ClassToken().eval(), str(tmp_path / "net.onnx")
    images = torch.rand(2, 3, 8, 8)
    axes = {"x": {0: "n"}, "y": {0: "n"}}
    torch.onnx.export(network, (images,), file, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes=axes)
    assert any(node.op_type == "Shape" for node in onnx.load(file).graph.node)
    teacher = open_teacher(file, PLAIN)
    assert not any(type(module).__name__ == "Shape" for module in teacher.network.modules())
    assert not any("atch size" in finding.title for finding in teacher.card.findings)
    for count in (1, 2, 5):
        images = torch.rand(count, 3, 8, 8)
        assert torch.allclose(teacher.network(images), network(images), atol=1e-5), count
    pixels = torch.randint(256, (256, 3, 8, 8), dtype=torch.uint8)
    assert export_onnx(teacher.network, teacher.spec, tmp_path / "again.onnx", metadata={}, images=pixels) < 1e-3


def _mixing() -> OneByOne:
    """Two images a group, each answered less the mean of both: no graph for any batch can do that."""

    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 8)
            self.constant = nn.Buffer(torch.arange(4.0).reshape(1, 4, 1, 1, 1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert len(images) == 2
            answers = self.layer(images).flatten(1)
            return answers - answers.mean(0) + self.constant.flatten()

    return OneByOne(OnnxNetwork(Mixing()), 2)


def test_every_group_is_answered_by_itself() -> None:
    network, images = _mixing(), torch.rand(5, 3, 8, 8)
    answers = network(images)
    assert torch.allclose(answers[:2], network(images[:2]), atol=1e-6)
    assert torch.allclose(answers[2:4], network(images[2:4]), atol=1e-6)
    assert torch.allclose(answers[4:], network(images[[4, 4]])[:1], atol=1e-6), "the last image fills its group"


def test_its_weights_can_be_learned_copied_and_laid_out_and_no_layer_be_looked_into() -> None:
    network, images = _mixing(), torch.rand(4, 3, 8, 8)
    assert not any(isinstance(module, nn.Conv2d) for module in network.modules())
    twin = copy.deepcopy(network).to(memory_format=torch.channels_last)
    assert torch.allclose(twin(images), network(images), atol=1e-6)
    network(images).square().sum().backward()
    weight = network.get_parameter("graph__layer__weight")
    assert weight.grad is not None and weight.grad.abs().sum() > 0
    before = twin(images)
    with torch.no_grad():
        weight += 1
    assert not torch.allclose(network(images), before, atol=1e-3)
    assert torch.equal(twin(images), before), "a copy has weights of its own"
    assert network.double()(images.double()).dtype is torch.float64
