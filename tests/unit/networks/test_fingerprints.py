"""The shipped index of architectures agrees with the libraries it was made from."""

from __future__ import annotations

import pytest
import torch

from abd_app.networks import catalog
from abd_app.networks.fingerprints import exact_candidates, fit, nearest, shapes_of, tensor_shapes

SAMPLE = [
    *("torchvision/alexnet", "torchvision/vgg16_bn", "torchvision/shufflenet_v2_x0_5", "torchvision/regnet_x_400mf"),
    *("timm/resnet18", "timm/vit_tiny_patch16_224", "timm/vit_tiny_r_s16_p8_224", "timm/mobilenetv3_small_100"),
    *("timm/edgenext_xx_small", "timm/mixer_s32_224", "timm/ghostnet_100"),
]


@pytest.mark.parametrize("name", SAMPLE)
@pytest.mark.parametrize(("num_classes", "channels"), [(23, 3), (5, 1)])
def test_the_index_proposes_each_architecture_for_its_own_tensors(name: str, num_classes: int, channels: int) -> None:
    shapes = tensor_shapes(name, num_classes, channels)
    assert name in exact_candidates(shapes)
    found = fit(name, shapes)
    assert found.exact
    assert (found.num_classes, found.channels) == (num_classes, channels)


def test_nearly_all_names_of_the_installed_libraries_are_indexed() -> None:
    from abd_app.networks.fingerprints import _index

    bodies = (names for group in _index()["groups"].values() for names in group["bodies"].values())
    indexed = {name for names in bodies for name in names}
    assert set(catalog.torchvision_names()) <= indexed
    assert len(indexed & set(catalog.timm_names())) >= 0.9 * len(catalog.timm_names())


@pytest.mark.parametrize("name", ["wrn-16-1", "torchvision/resnet18", "timm/vit_tiny_patch16_224"])
def test_shapes_are_those_of_the_real_network(name: str) -> None:
    assert tensor_shapes(name, 6, 3) == shapes_of(catalog.build(name, 6, 3).state_dict())


def test_shapes_take_no_memory_and_leave_no_trace() -> None:
    tensor_shapes("torchvision/vgg16_bn", 6, 3)
    assert torch.empty(2).device.type == "cpu"
    assert torch.nn.Linear(2, 2).weight.device.type == "cpu"


def test_the_nearest_share_many_tensors() -> None:
    shapes = dict(tensor_shapes("torchvision/resnet50", 6, 3))
    for key in [key for key in shapes if key.startswith("layer4.2.")]:
        del shapes[key]
    shares = dict(nearest(shapes))
    assert shares["torchvision/resnet50"] > 0.5
    assert "torchvision/resnet18" not in shares


def test_nothing_is_near_to_foreign_names() -> None:
    assert nearest({"lstm.weight": (3, 3)}) == ()
    assert nearest({}) == ()
