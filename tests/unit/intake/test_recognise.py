"""Architectures are recognised from names and shapes alone, exactly or not at all."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

from abd_app.errors import UsageError
from abd_app.intake.recognise import Recognised, fit_named, nearest_fits, recognise
from abd_app.intake.stated import StatedFacts
from abd_app.networks import catalog

Tensors = dict[str, torch.Tensor]

OWN = [
    *("wrn-16-1", "wrn-16-2", "wrn-40-2", "wrn-10-3", "resnet18-cifar", "resnet34-cifar"),
    *("preact-resnet18", "preact-resnet34", "vgg11-bn-cifar", "vgg13-bn-cifar", "vgg16-bn-cifar", "vgg19-bn-cifar"),
    *("resnet20-cifar", "resnet32-cifar", "resnet44-cifar", "resnet56-cifar", "resnet110-cifar"),
    *("resnet20-cifar-projection", "resnet50-cifar-bottleneck", "resnet101-cifar-bottleneck", "vgg16-bn-cifar-h512"),
]
LIBRARY = [
    *("torchvision/resnet18", "torchvision/resnet50", "torchvision/densenet161", "torchvision/vgg19_bn"),
    *("torchvision/mobilenet_v3_large", "torchvision/efficientnet_b3", "torchvision/convnext_tiny"),
    *("torchvision/vit_b_16", "torchvision/squeezenet1_0", "torchvision/inception_v3", "torchvision/regnet_y_400mf"),
    *("timm/resnet10t", "timm/vit_tiny_patch16_224", "timm/convnext_atto", "timm/regnetz_005"),
]


def _tensors(name: str, num_classes: int = 17, channels: int = 3) -> Tensors:
    """Real names and shapes without memory: recognition never looks at values."""
    with torch.device("meta") if "regnet" not in name else torch.device("cpu"):
        return dict(catalog.build(name, num_classes, channels).state_dict())


def _found(tensors: Tensors, hint: str | None = None) -> Recognised:
    found = recognise(tensors, StatedFacts(architecture=hint))
    assert found is not None
    return found


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize(("num_classes", "channels"), [(10, 3), (43, 1)])
def test_own_families(name: str, num_classes: int, channels: int) -> None:
    found = _found(_tensors(name, num_classes, channels))
    assert found.fit.architecture == name
    assert (found.fit.num_classes, found.fit.channels) == (num_classes, channels)
    assert not found.renamed


@pytest.mark.parametrize("name", LIBRARY)
def test_library_architectures(name: str) -> None:
    found = _found(_tensors(name), hint=name.partition("/")[2])
    assert found.fit.architecture.partition("/")[2] == name.partition("/")[2]
    assert (found.fit.num_classes, found.fit.channels) == (17, 3)


def test_a_hint_decides_between_architectures_of_the_same_shape() -> None:
    tensors = _tensors("timm/efficientnet_b0")
    assert _found(tensors, hint="tf_efficientnet_b0").fit.architecture == "timm/tf_efficientnet_b0"
    found = _found(tensors, hint="efficientnet_b0.ra_in1k")
    assert found.fit.architecture == "timm/efficientnet_b0"
    assert "timm/tf_efficientnet_b0" in found.also_fit


HALF, IMAGENET = ((0.5,) * 3, (0.5,) * 3), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    ("name", "side", "normalised", "found"),
    [
        ("xcit_nano_12_p16_224", 384, IMAGENET, "timm/xcit_nano_12_p16_384"),
        ("xcit_nano_12_p16_224", 224, IMAGENET, "timm/xcit_nano_12_p16_224"),
        ("swinv2_cr_tiny_224", 384, IMAGENET, "timm/swinv2_cr_tiny_384"),
        ("efficientnet_lite2", 260, HALF, "timm/tf_efficientnet_lite2"),
        ("efficientnet_lite2", 260, ((0.5,), (0.5,)), "timm/tf_efficientnet_lite2"),
        ("efficientnet_lite2", 260, IMAGENET, "timm/efficientnet_lite2"),
        ("resnet101d", 224, IMAGENET, "timm/resnet101d"),
        ("resnet18", 32, HALF, "torchvision/resnet18"),
    ],
)
def test_what_is_said_of_the_images_decides_between_architectures_of_the_same_shape(
    name: str, side: int, normalised: tuple[tuple[float, ...], tuple[float, ...]], found: str
) -> None:
    said = StatedFacts(input_size=(side, side), mean=normalised[0], std=normalised[1])
    recognised = recognise(_tensors(f"timm/{name}"), said)
    assert recognised is not None and recognised.fit.architecture == found
    hinted = recognise(_tensors(f"timm/{name}"), dataclasses.replace(said, architecture=name))
    assert hinted is not None and hinted.fit.architecture.endswith(f"/{name}")


def test_other_names_for_the_same_layers_are_reported() -> None:
    tensors = {
        name.replace("shortcut.", "downsample.").replace("linear.", "fc."): value
        for name, value in _tensors("resnet18-cifar").items()
    }
    found = _found(tensors)
    assert found.fit.architecture == "resnet18-cifar"
    assert found.renamed
    assert "linear.weight" in found.tensors


def test_an_imagenet_stem_is_not_taken_for_a_cifar_one() -> None:
    assert _found(_tensors("torchvision/resnet18")).fit.architecture == "torchvision/resnet18"


def test_auxiliary_classifiers_are_left_out() -> None:
    import torchvision

    with torch.device("meta"):
        network = torchvision.models.inception_v3(weights=None, num_classes=9, aux_logits=True, init_weights=False)
    found = _found(dict(network.state_dict()))
    assert found.fit.architecture == "torchvision/inception_v3"
    assert found.left_out
    assert all(name.startswith("AuxLogits.") for name in found.left_out)


def _renamed(tensors: Tensors, *pairs: tuple[str, str]) -> Tensors:
    """``(pattern, replacement)`` pairs, of which the first that matches a name is used."""

    def name(old: str) -> str:
        return next((re.sub(theirs, ours, old) for theirs, ours in pairs if re.match(theirs, old)), old)

    return {name(old): value for old, value in tensors.items()}


@pytest.mark.parametrize(
    ("architecture", "pairs"),
    [
        ("torchvision/resnet18", [(r"fc\.", "fc.1.")]),  # Sequential(Dropout, Linear)
        ("torchvision/mobilenet_v2", [(r"classifier\.1\.", "classifier.")]),
        ("torchvision/vit_b_16", [(r"heads\.head\.", "heads.")]),
        ("torchvision/resnet50", [(r"fc\.", "classifier."), ("^", "backbone.")]),
        ("resnet18-cifar", [(r"linear\.", "head."), ("^", "encoder.")]),
        (
            "torchvision/resnet18",
            [(r"fc\.", "fc."), ("conv1", "features.0"), ("bn1", "features.1"), ("layer4", "features.7")]
            + [(f"layer{stage}", f"features.{stage + 3}") for stage in (1, 2, 3)],
        ),
    ],
)
def test_a_last_layer_and_a_body_of_other_names(architecture: str, pairs: list[tuple[str, str]]) -> None:
    tensors = _tensors(architecture)
    renamed = _renamed(tensors, *pairs)
    assert renamed.keys() != tensors.keys()
    found = _found(renamed)
    assert (found.fit.architecture, found.fit.num_classes) == (architecture, 17)
    assert found.renamed
    assert {name: value.shape for name, value in found.tensors.items()} == {
        name: value.shape for name, value in tensors.items()
    }


@pytest.mark.parametrize("features", [512, 1000])
@pytest.mark.parametrize("first", [True, False])
def test_two_last_layers_of_one_name_are_no_network_of_one(features: int, first: bool) -> None:
    body = {f"backbone.{name}": value for name, value in _tensors("torchvision/resnet18", features).items()}
    head = {"fc.weight": torch.empty(10, features, device="meta"), "fc.bias": torch.empty(10, device="meta")}
    assert recognise({**head, **body} if first else {**body, **head}) is None


def test_a_named_architecture_may_have_another_last_layer() -> None:
    renamed = _renamed(_tensors("torchvision/resnet18"), (r"fc\.", "fc.1."))
    found = fit_named("torchvision/resnet18", renamed)
    assert found.renamed and found.fit.num_classes == 17


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
@pytest.mark.parametrize("name", ["wrn-16-2", "torchvision/resnet18"])
def test_one_tensor_off_is_not_recognised_and_the_nearest_says_so(name: str, change: str) -> None:
    tensors = _tensors(name)
    key = next(key for key in tensors if key.endswith("conv2.weight"))
    if change == "missing":
        del tensors[key]
    elif change == "unexpected":
        tensors["extra.weight"] = torch.empty(3)
    else:
        tensors[key] = torch.empty(1, 2, 3, 4)
    assert recognise(tensors) is None
    best = nearest_fits(tensors)[0]
    assert best.architecture == name
    assert best.differences == 1
    assert {"missing": key, "unexpected": "extra.weight", "shape": key}[change] in best.describe()


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("wrn-16-1", "block1.layer.0.conv1.weight"),
        ("vgg11-bn-cifar", "classifier.weight"),
        ("vgg11-bn-cifar-h512", "classifier.0.weight"),
        ("resnet20-cifar", "conv1.weight"),
    ],
)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (0, 3), (2, 3, 4, 5, 6)])
def test_tensors_of_odd_shapes_are_not_recognised(name: str, key: str, shape: tuple[int, ...]) -> None:
    assert recognise({**_tensors(name), key: torch.empty(shape, device="meta")}) is None


def test_nothing_resembles_a_foreign_state_dict() -> None:
    tensors = {"encoder.lstm.weight": torch.empty(4, 4), "decoder.bias": torch.empty(4)}
    assert recognise(tensors) is None
    assert nearest_fits(tensors) == ()


def test_a_named_architecture_that_does_not_fit_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="do not fit wrn-16-1") as caught:
        fit_named("wrn-16-1", _tensors("wrn-16-2"))
    assert "of another shape" in caught.value.why


def test_a_named_architecture_that_fits() -> None:
    assert fit_named("timm/resnet18", _tensors("torchvision/resnet18")).fit.architecture == "timm/resnet18"


def test_an_unknown_name_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="Unknown architecture"):
        fit_named("resnet-eighteen", _tensors("torchvision/resnet18"))
