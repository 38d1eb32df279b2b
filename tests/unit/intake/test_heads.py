"""Networks whose last layers were replaced answer as they did; what is no chain of layers is refused."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import nn

from abd_app.intake import inspect_teacher, open_teacher
from abd_app.intake.recognise import fit_named, recognise
from abd_app.networks import catalog
from abd_app.plan import TeacherFacts

FACTS = TeacherFacts(input_size=(32, 32), mean=(0.5,) * 3, std=(0.25,) * 3)
IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
Save = Callable[..., str]


def _hidden(features: int, between: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, 8), between or nn.ReLU(), nn.Dropout(), nn.Linear(8, 5))


def _resnet18(head: nn.Module) -> nn.Module:
    network = torchvision.models.resnet18()
    network.fc = head
    return network


def _appended() -> nn.Module:
    network = torchvision.models.mobilenet_v2(num_classes=12)
    network.classifier.extend([nn.ReLU(), nn.Linear(12, 5)])
    return network


def _whole_classifier() -> nn.Module:
    network = torchvision.models.mobilenet_v2()
    network.classifier = nn.Sequential(nn.Dropout(), *_hidden(1280))
    return network


def _named_layers() -> nn.Module:
    network = torchvision.models.shufflenet_v2_x0_5()
    layers = OrderedDict(fc1=nn.Linear(1024, 8), relu=nn.ReLU(), fc2=nn.Linear(8, 5), output=nn.LogSoftmax(dim=1))
    network.fc = nn.Sequential(layers)
    return network


def _own_family() -> nn.Module:
    network = catalog.build("wrn-10-1", 10)
    network.fc = _hidden(64)
    return network


class _Beside(nn.Module):
    """A body under a name of its own, and layers beside it that are named by the order in which they run."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*list(torchvision.models.resnet18().children())[:-1])
        self.fc1, self.fc2 = nn.Linear(512, 8), nn.Linear(8, 5, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc2(torch.relu(self.fc1(self.features(images).flatten(1))))  # type: ignore[no-any-return]


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "hidden layer": lambda: _resnet18(_hidden(512)),
    "batch normalisation before ReLU": lambda: _resnet18(
        nn.Sequential(nn.Linear(512, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 5))
    ),
    "batch normalisation after ReLU": lambda: _resnet18(
        nn.Sequential(
            nn.BatchNorm1d(512), nn.Linear(512, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 5)
        )
    ),
    "layer normalisation, no activation": lambda: _resnet18(
        nn.Sequential(nn.LayerNorm(512), nn.Linear(512, 8), nn.Linear(8, 5))
    ),
    "learned activation": lambda: _resnet18(_hidden(512, nn.PReLU())),
    "no bias": lambda: _resnet18(nn.Linear(512, 5, bias=False)),
    "layers appended": _appended,
    "whole classifier": _whole_classifier,
    "named layers": _named_layers,
    "own family": _own_family,
    "beside the body": _Beside,
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=list(NETWORKS))
def test_the_teacher_answers_like_the_network_that_was_saved(make: Callable[[], nn.Module], saved: Save) -> None:
    torch.manual_seed(0)
    network = make()
    with torch.no_grad():
        network(IMAGES)  # moves the statistics of the normalisations
    network.eval()
    teacher = open_teacher(saved(network.state_dict()), FACTS)
    expected = network((IMAGES - 0.5) / 0.25).softmax(dim=1)
    assert torch.allclose(teacher.network(IMAGES).softmax(dim=1), expected, atol=1e-5)
    assert teacher.spec.num_classes == 5


def test_what_was_assumed_is_said(saved: Save) -> None:
    card = inspect_teacher(saved(_resnet18(_hidden(512)).state_dict()), FACTS)
    (said,) = [finding for finding in card.findings if "last layers" in finding.title]
    assert (said.severity, said.title) == ("warning", "Read as torchvision/resnet18 with other last layers")
    assert "fc: Linear 512 → 8, ReLU, Linear 8 → 5," in said.detail
    card = inspect_teacher(saved(_resnet18(nn.Sequential(nn.Dropout(), nn.Linear(512, 5))).state_dict()), FACTS)
    (said,) = [finding for finding in card.findings if "last layers" in finding.title]
    assert "fc: Linear 512 → 5, assumed to follow the features directly" in said.detail


@pytest.mark.parametrize("normalisation", [nn.BatchNorm1d, nn.LayerNorm])
def test_the_classifier_of_a_cifar_vgg_may_begin_with_a_normalisation(
    saved: Save, normalisation: type[nn.Module]
) -> None:
    network = catalog.build("vgg11-bn-cifar", 10)
    network.classifier = nn.Sequential(normalisation(512), nn.Linear(512, 5))
    teacher = open_teacher(saved(network.eval().state_dict()), FACTS)
    assert teacher.card.architecture == "vgg11-bn-cifar"
    assert torch.allclose(teacher.network(IMAGES), network((IMAGES - 0.5) / 0.25), atol=1e-5)


def test_other_architectures_that_fit_are_still_named() -> None:
    network = torchvision.models.efficientnet_b0()
    network.classifier = _hidden(1280)
    found = recognise(network.state_dict())
    assert found is not None and found.fit.architecture == "torchvision/efficientnet_b0"
    assert fit_named("torchvision/efficientnet_b0", network.state_dict()).head is not None


@pytest.mark.parametrize(
    "head",
    [
        {"fc.1.weight": (5, 511)},
        {"fc.0.weight": (8, 512), "fc.2.weight": (5, 9)},
        {"fc.0.weight": (8, 512), "fc.2.weight": (5, 8), "fc.2.bias": (6,)},
        {"fc.0.weight": (8, 512), "fc.1.weight": (9,), "fc.2.weight": (5, 8)},
        {"fc.0.weight": (8, 512, 1, 1), "fc.2.weight": (5, 8)},
        {"fc.0.weight": (0, 512), "fc.2.weight": (5, 0)},
        {"fc.a.weight": (5, 512), "fc.b.weight": (3, 512)},
        {"fc.block.0.weight": (8, 512), "fc.out.weight": (5, 8)},
        {"fc.0.weight": (8, 512), "fc.weight": (5, 8)},
        {"fc.0.in_proj_weight": (8, 512), "fc.1.weight": (5, 8)},
        {"fc.weight": (5, 512), "fc.bias": (5,), "extra.weight": (5, 5)},
    ],
    ids=" ".join,
)
def test_what_is_no_chain_of_layers_is_not_recognised(head: dict[str, tuple[int, ...]]) -> None:
    tensors = {name: value for name, value in torchvision.models.resnet18().state_dict().items() if "fc." not in name}
    assert recognise(tensors | {name: torch.empty(shape) for name, shape in head.items()}) is None


def test_layers_of_names_are_taken_in_the_one_order_in_which_they_fit(saved: Save) -> None:
    """A safetensors file sorts names: it does not say in which order layers run."""
    torch.manual_seed(0)
    layers = OrderedDict(wide=nn.Linear(512, 8), relu=nn.ReLU(), bn=nn.BatchNorm1d(8), out=nn.Linear(8, 5))
    network = _resnet18(nn.Sequential(layers)).eval()
    tensors = network.state_dict()
    found = recognise(dict(sorted(tensors.items())))
    assert found is not None and found.head is not None
    assert found.head.describe() == "Linear 512 → 8, BatchNorm1d, ReLU, Linear 8 → 5"
    square = OrderedDict(wide=nn.Linear(512, 512), relu=nn.ReLU(), bn=nn.BatchNorm1d(512), out=nn.Linear(512, 5))
    assert recognise(_resnet18(nn.Sequential(square)).state_dict()) is None, "bn may be first, or second"


def test_a_head_of_very_many_layers_is_not_tried() -> None:
    """Of twelve square ones half a billion orders would fit, but for a last one that fits nowhere."""
    tensors = {name: value for name, value in torchvision.models.resnet18().state_dict().items() if "fc." not in name}
    square, odd = torch.empty(512, 512), torch.empty(5, 7)
    assert recognise(tensors | {f"fc.{name}.weight": square for name in "abcdefghijkl"} | {"fc.m.weight": odd}) is None
    assert recognise(tensors | {f"fc.{at}.weight": square for at in range(2_000)}) is None


@pytest.mark.parametrize("names", [("forward", "train"), ("9" * 5_000, "x"), ("²", "³"), ("0", "00")])
def test_names_of_layers_may_be_anything(names: tuple[str, str], saved: Save) -> None:
    network = _resnet18(nn.Identity())
    first, second = nn.Linear(512, 8), nn.Linear(8, 5)
    tensors = network.state_dict()
    for name, layer in zip(names, (first, second), strict=True):
        tensors |= {f"fc.{name}.{leaf}": value for leaf, value in layer.state_dict().items()}
    teacher = open_teacher(saved(tensors), FACTS)
    assert teacher.network(IMAGES).shape == (4, 5)


def test_a_changed_body_is_not_a_changed_head() -> None:
    tensors = _resnet18(_hidden(512)).state_dict()
    tensors["layer4.1.conv2.weight"] = torch.empty(512, 512, 1, 1)
    assert recognise(tensors) is None
