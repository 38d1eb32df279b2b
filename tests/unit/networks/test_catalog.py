"""The catalogue builds what it names, in the shapes and key layouts that files use."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from abd_app.errors import UsageError
from abd_app.networks import catalog
from abd_app.plan import STUDENTS


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # Published sizes for 10 classes: WRN (Zagoruyko & Komodakis), ResNet-20/110 0.27M/1.7M (He et al., table 6).
        ("wrn-16-2", 691_674),
        ("resnet20-cifar", 269_722),
        ("resnet110-cifar", 1_727_962),
        ("resnet18-cifar", 11_173_962),
        ("resnet34-cifar", 21_282_122),
        ("resnet50-cifar-bottleneck", 23_520_842),
        ("resnet101-cifar-bottleneck", 42_512_970),
        ("preact-resnet18", 11_171_146),
        ("vgg16-bn-cifar", 14_728_266),
    ],
)
def test_published_parameter_counts(name: str, parameters: int) -> None:
    with torch.device("meta"):
        assert _parameters(catalog.build(name, 10)) == parameters


@pytest.mark.parametrize("name", [name for name in STUDENTS if name not in ("auto", "purified")])
def test_students_answer_small_images_and_train(name: str) -> None:
    network = catalog.build(name, 7, side_px=32).train()
    logits = network(torch.rand(2, 3, 32, 32))
    logits.square().sum().backward()
    assert logits.shape == (2, 7)
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        (
            "resnet18-cifar",
            ("conv1.weight", "layer2.0.shortcut.0.weight", "layer2.0.shortcut.1.running_var", "linear.bias"),
        ),
        ("resnet50-cifar-bottleneck", ("conv1.weight", "layer1.0.conv3.weight", "layer1.0.shortcut.0.weight")),
        ("preact-resnet18", ("conv1.weight", "layer1.0.bn1.weight", "layer2.0.shortcut.0.weight", "linear.weight")),
        ("vgg16-bn-cifar", ("features.0.weight", "features.1.running_mean", "features.40.weight", "classifier.weight")),
        ("resnet20-cifar", ("conv1.weight", "layer3.2.conv2.weight", "linear.weight")),
    ],
)
def test_key_layouts(name: str, keys: tuple[str, ...]) -> None:
    with torch.device("meta"):
        assert set(keys) <= set(catalog.build(name, 10).state_dict())


def test_preact_has_no_batchnorm_in_its_shortcut() -> None:
    with torch.device("meta"):
        assert "layer2.0.shortcut.1.weight" not in catalog.build("preact-resnet18", 10).state_dict()


def test_shortcut_without_parameters_pads_new_channels_with_zeros() -> None:
    block = catalog.build("resnet20-cifar", 10).get_submodule("layer2.0.shortcut")
    features = torch.rand(1, 16, 8, 8)
    shortcut = block(features)
    assert shortcut.shape == (1, 32, 4, 4)
    assert torch.equal(shortcut[:, 8:24], features[:, :, ::2, ::2])
    assert shortcut[:, :8].abs().sum() == 0 == shortcut[:, 24:].abs().sum()


@pytest.mark.parametrize("name", ["wrn-16-1", "resnet20-cifar", "preact-resnet18", "vgg11-bn-cifar"])
def test_grey_images(name: str) -> None:
    assert catalog.build(name, 5, channels=1).eval()(torch.rand(1, 1, 32, 32)).shape == (1, 5)


@pytest.mark.parametrize(
    "name", ["torchvision/resnet18", "torchvision/densenet121", "timm/resnet10t", "torchvision/inception_v3"]
)
def test_library_networks_take_classes_and_channels(name: str) -> None:
    with torch.device("meta"):
        network = catalog.build(name, 43, channels=1).eval()
        assert network(torch.empty(2, 1, 128, 128)).shape == (2, 43)


def test_small_mobilenet_keeps_sixteen_times_the_area() -> None:
    small, large = catalog.build("mobilenetv3-small", 4, side_px=32), catalog.build("mobilenetv3-small", 4)

    def features(network: nn.Module) -> torch.Tensor:
        answer: torch.Tensor = network.eval().get_submodule("features")(torch.rand(1, 3, 64, 64))
        return answer

    assert features(small).shape[-1] == 4 * features(large).shape[-1]
    assert small.state_dict().keys() == large.state_dict().keys()


@pytest.mark.parametrize(
    "name", ["wrn-16-2", "resnet56-cifar", "preact-resnet34", "vgg13-bn-cifar", "torchvision/resnet18"]
)
def test_stage_names_are_modules_with_four_dimensional_output(name: str) -> None:
    network = catalog.build(name, 10).eval()
    shapes: list[torch.Size] = []
    for stage in catalog.stage_names(network):
        network.get_submodule(stage).register_forward_hook(lambda _m, _i, out: shapes.append(out.shape))
    network(torch.rand(1, 3, 32, 32))
    assert len(shapes) >= 3
    assert all(len(shape) == 4 for shape in shapes)


@pytest.mark.parametrize(
    "name",
    [
        "wrn-17-2",
        "resnet21-cifar",
        "resnet18-cifar-projection",
        "resnet34-cifar-bottleneck",
        "timm/resnat50",
        "resnett18",
        "",
    ],
)
def test_unknown_names_are_usage_errors(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        catalog.build(name, 10)
    assert caught.value.remedy


def test_near_names_are_offered() -> None:
    with pytest.raises(UsageError, match="resnat50") as caught:
        catalog.build("timm/resnat50", 10)
    assert "timm/resnet50" in caught.value.remedy


def test_importing_the_catalogue_imports_no_model_library() -> None:
    code = "import sys, abd_app.networks.catalog; print({'torchvision', 'timm', 'onnx'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
