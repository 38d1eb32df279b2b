"""Activation bounds: nothing beyond what training data gave."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from abd_app.distill.assemble import place_teacher
from abd_app.distill.compute.device import Compute
from abd_app.distill.defences.bounds import bound_activations
from abd_app.distill.recipe import choose_recipe
from abd_app.networks.catalog import build
from abd_app.networks.pixels import PixelNetwork
from abd_app.teacher import Teacher


def test_activations_are_cut_at_beta_plus_and_minus_three_gamma() -> None:
    layer = nn.BatchNorm2d(2).eval()
    assert layer.running_mean is not None
    layer.running_mean.copy_(torch.tensor([1.0, 0.0]))
    layer.weight.data.copy_(torch.tensor([2.0, -0.5]))
    layer.bias.data.copy_(torch.tensor([1.0, 0.25]))
    assert len(bound_activations(nn.Sequential(layer))) == 1
    # Channel 0: 1 + 2 (x - 1), within 1 +- 6. Channel 1: 0.25 - 0.5 x, within 0.25 +- 1.5.
    inputs = torch.tensor([[[[1.5, 9.0, -9.0]], [[1.0, 9.0, -9.0]]]])
    expected = torch.tensor([[[[2.0, 7.0, -5.0]], [[-0.25, -1.25, 1.75]]]])
    assert torch.allclose(layer(inputs), expected, atol=1e-4)


def test_layers_without_statistics_or_parameters() -> None:
    plain, nothing = nn.BatchNorm2d(3, affine=False).eval(), nn.BatchNorm2d(3, track_running_stats=False)
    assert len(bound_activations(nn.Sequential(plain, nothing, nn.Conv2d(3, 3, 1)))) == 1
    assert float(plain(torch.full((1, 3, 1, 1), 99.0)).max()) == pytest.approx(3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_precision_stays(dtype: torch.dtype) -> None:
    layer = nn.BatchNorm2d(3).eval().requires_grad_(False)
    bound_activations(layer, 1.0)
    given = layer(torch.full((1, 3, 2, 2), 5.0, dtype=dtype))
    assert given.dtype == dtype and float(given.max()) == 1


def test_lifted_bounds_let_everything_through_and_come_back() -> None:
    layer = nn.BatchNorm2d(3).eval().requires_grad_(False)
    bounds, shown = bound_activations(layer, 1.0), torch.full((1, 3, 2, 2), 5.0)
    with pytest.raises(KeyError), bounds.lifted():
        assert float(layer(shown).max()) == pytest.approx(5, rel=1e-4)
        raise KeyError
    assert float(layer(shown).max()) == 1


def test_a_layer_over_features_is_bounded_alike_when_it_is_built_in() -> None:
    class OverFeatures(nn.BatchNorm2d):
        """As ONNX graphs have it."""

        def _check_input_dim(self, input: torch.Tensor) -> None:
            assert input.dim() == 2

    network, features = nn.Sequential(OverFeatures(3)).eval().requires_grad_(False), 9 * torch.randn(7, 3)
    bounds = bound_activations(network, 1.0)
    bounded = network(features)
    assert bounded.shape == features.shape and bounded.abs().max() == 1
    assert torch.equal(bounds.built_into(network)(features), bounded)


@pytest.mark.parametrize("stds", [0.5, 3.0])
def test_bounds_that_are_built_in_are_saved_and_act_without_hooks(stds: float) -> None:
    torch.manual_seed(0)
    network = PixelNetwork(build("wrn-10-1", 4, 3), mean=(0.4,) * 3, std=(0.3,) * 3)
    network.train()(torch.rand(32, 3, 8, 8))
    images = torch.rand(8, 3, 8, 8) * 3
    bounds = bound_activations(network.eval(), stds)
    expected = network(images)
    built = bounds.built_into(network)
    assert torch.equal(built(images), expected)
    assert sum(len(module._forward_hooks) for module in built.modules()) == 0
    names = [name for name in built.state_dict() if name.endswith(".high")]
    assert len(names) == len(bounds) > 0


class _Loud(nn.Module):
    """A white corner shouts down everything else: one channel, far outside of what training data gave it."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(2)
        self.bn.weight.data.fill_(0.5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        corner = images[:, :1, -1:, -1:] ** 8
        meaning = images[:, 1:2].mean(dim=(2, 3), keepdim=True)
        seen = self.bn(torch.cat([100 * corner, 4 * (meaning - 0.5)], dim=1)).flatten(1)
        return torch.stack([seen[:, 0], 8 * seen[:, 1]], dim=1)


def test_a_trigger_that_shouts_is_outvoted_and_clean_answers_stay() -> None:
    network = _Loud().eval()
    images = torch.rand(64, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.3
    images[:, 1] += 0.7
    triggered = images.clone()
    triggered[:, :, -1, -1] = 1.0
    clean = network(images)
    assert (network(triggered).argmax(1) == 0).all() and (clean.argmax(1) == 1).all()
    bound_activations(network)
    assert (network(triggered).argmax(1) == 1).all()
    assert torch.equal(network(images), clean)


def test_the_copy_that_labels_is_bounded_for_the_student_and_not_for_the_twin(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher = make_teacher()
    spec = teacher.spec
    student = PixelNetwork(build("wrn-10-1", spec.num_classes, spec.channels), mean=spec.mean, std=spec.std)
    far = torch.rand(4, 3, 8, 8) * 50
    before = copy.deepcopy(teacher.network)(far)
    recipe = choose_recipe("ood", "abd", "quick", 60)

    def logits(recipe: object) -> torch.Tensor:
        random = torch.Generator().manual_seed(0)
        answering, _, _ = place_teacher(teacher, recipe, student, compute, random)  # type: ignore[arg-type]
        return answering(far).logits

    assert torch.allclose(logits(recipe.undefended()), before, atol=1e-4)
    assert not torch.allclose(logits(recipe), before, atol=1e-2)
    assert torch.equal(teacher.network(far), before), "the opened teacher itself is as it was"


@pytest.mark.parametrize(
    ("method", "effort"), [("ood", "quick"), ("fast", "quick"), ("zskt", "quick"), ("cmi", "quick")]
)
def test_who_bounds(method: str, effort: str) -> None:
    for defense, bounded in (("abd", True), ("sv", True), ("sr", False), ("none", False)):
        assert (choose_recipe(method, defense, effort, 60).bounds is not None) == bounded
    if method != "fast":
        assert choose_recipe(method, "abd", "paper", 60).bounds is None, "paper mode is as published"
