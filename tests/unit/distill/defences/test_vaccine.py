"""The Shuffling Vaccine against the form that copies the whole teacher and runs every copy from the pixels."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.compute.device import Compute
from abd_app.distill.defences import kept_answers
from abd_app.distill.defences import vaccine as module
from abd_app.distill.defences.vaccine import ShufflingVaccine, VaccineError, shufflable_layers, tail_ratio
from abd_app.distill.losses import kl_per_image
from abd_app.teacher import Teacher
from tests.unit.distill.checked import checked


def _random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _vaccine(teacher: Teacher, seed: int = 0, **options: Any) -> ShufflingVaccine:
    spec = teacher.spec
    example = torch.rand(2, spec.channels, spec.height, spec.width)
    options = {"block_names": teacher.block_names, **options}
    return ShufflingVaccine(teacher.network, example=example, generator=_random(seed), **options)


def _naive_logits(network: nn.Module, images: torch.Tensor, layers: list[str], seed: int, copies: int = 3):
    """Whole copies, the same permutations, no sharing."""
    generator, total = _random(seed), torch.zeros(())
    for _ in range(copies):
        shuffled = copy.deepcopy(network)
        for name in layers:
            weight = shuffled.get_submodule(name).weight
            weight.data = weight.data[:, torch.randperm(weight.shape[1], generator=generator)]
        total = total + shuffled(images)
    return total / copies


def test_on_wrn_16_2_exactly_block3_is_shuffled(make_teacher: Callable[..., Teacher]) -> None:
    vaccine = _vaccine(make_teacher("wrn-16-2"))
    assert vaccine.layer_names == [
        "network.block3.layer.0.conv1",
        "network.block3.layer.0.conv2",
        "network.block3.layer.0.convShortcut",
        "network.block3.layer.1.conv1",
        "network.block3.layer.1.conv2",
    ]
    assert vaccine.trunk == "network.block2"


def test_a_vgg_has_layers_although_none_is_called_conv(make_teacher: Callable[..., Teacher]) -> None:
    teacher = make_teacher("vgg11-bn-cifar", height=32, width=32)
    vaccine = _vaccine(teacher)
    assert len(vaccine.layer_names) == 5
    modules = [teacher.network.get_submodule(name) for name in vaccine.layer_names]
    assert all(isinstance(layer, nn.Conv2d) for layer in modules)
    images = torch.rand(4, 3, 32, 32)
    expected = _naive_logits(teacher.network, images, vaccine.layer_names, seed=0)
    assert torch.allclose(vaccine.logits(images), expected, atol=1e-5)
    assert not torch.allclose(vaccine.logits(images), teacher.network(images), atol=1e-3)


def test_depthwise_and_grey_layers_are_passed_over_and_linear_networks_have_linear_layers() -> None:
    mixed = nn.Sequential(
        nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1, groups=4), nn.Conv2d(4, 4, 1, groups=2), nn.Linear(4, 2)
    )
    assert shufflable_layers(mixed) == ["2"]
    perceptron = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4))
    assert shufflable_layers(perceptron) == ["1"]


def test_a_layer_that_reads_the_image_itself_is_passed_over() -> None:
    """A vision transformer's only convolution cuts the image into tokens; its linear layers are shuffled."""
    patches = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Flatten(2), nn.Flatten(), nn.Linear(32, 8), nn.Linear(8, 4))
    assert shufflable_layers(patches, image_channels=3) == ["3"]
    assert shufflable_layers(patches, image_channels=1) == ["0"]


def test_a_network_without_such_layers_raises() -> None:
    lonely = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    with pytest.raises(VaccineError):
        ShufflingVaccine(lonely, example=torch.rand(2, 1, 4, 4), generator=_random())


@pytest.mark.parametrize(
    ("architecture", "trunk"), [("wrn-10-1", "network.block1"), ("wrn-16-1", "network.block2"), ("resnet18-cifar", "")]
)
def test_the_shared_trunk_gives_the_logits_and_gradients_of_whole_copies(
    make_teacher: Callable[..., Teacher], compute: Compute, architecture: str, trunk: str
) -> None:
    teacher = make_teacher(architecture)
    vaccine = _vaccine(teacher, seed=4)
    assert vaccine.trunk == trunk
    answering = AnsweringTeacher(teacher.network, compute)
    answering.share_trunk(vaccine.trunk)
    images = torch.rand(5, 3, 8, 8, requires_grad=True)
    shared = vaccine.logits(images, answering(images).trunk)
    naive = _naive_logits(teacher.network, images, vaccine.layer_names, seed=4)
    assert torch.allclose(shared, naive, atol=1e-5)
    weights = torch.randn_like(naive)
    (by_shared,) = torch.autograd.grad((shared * weights).sum(), images)
    (by_naive,) = torch.autograd.grad((naive * weights).sum(), images)
    assert by_naive.abs().max() > 1e-4
    assert torch.allclose(by_shared, by_naive, atol=1e-5)


def test_stages_that_are_no_chain_fall_back_to_whole_copies(compute: Compute) -> None:
    class Skipping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block1, self.block2 = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            pooled: torch.Tensor = (self.block2(self.block1(images)) + images).mean((2, 3))
            return pooled

    network = Skipping().eval().requires_grad_(False)
    images = torch.rand(3, 3, 4, 4)
    vaccine = ShufflingVaccine(network, example=images, generator=_random(), block_names=["block1"], layers=1)
    expected = _naive_logits(network, images, ["block2"], seed=0)
    assert torch.allclose(vaccine.logits(images, network.block1(images)), expected, atol=1e-6)


def test_hooks_of_a_watched_teacher_do_not_leak_into_the_copies(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher = make_teacher()
    answering = AnsweringTeacher(teacher.network, compute, teacher.block_names)
    seen = []
    teacher.network.get_submodule("network.block3").register_forward_hook(lambda *args: seen.append(1))
    vaccine = _vaccine(teacher)
    answering.share_trunk(vaccine.trunk)
    answer = answering(torch.rand(2, 3, 8, 8))
    before = len(seen)
    vaccine.logits(torch.rand(2, 3, 8, 8), answer.trunk)
    assert len(seen) == before
    assert answering._outputs == {}
    assert not any(one._forward_hooks for network in vaccine._copies for one in network.modules())


def test_making_a_vaccine_leaves_the_teacher_as_it_was(make_teacher: Callable[..., Teacher]) -> None:
    teacher = make_teacher()
    before = copy.deepcopy(teacher.network.state_dict())
    _vaccine(teacher).shuffle(_random(9))
    assert all(torch.equal(before[name], value) for name, value in teacher.network.state_dict().items())
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in teacher.network.modules())


def test_reshuffling_starts_from_the_teachers_own_weights(make_teacher: Callable[..., Teacher]) -> None:
    teacher = make_teacher()
    vaccine = _vaccine(teacher, seed=1, block_names=())
    vaccine.shuffle(_random(2))
    images = torch.rand(3, 3, 8, 8)
    assert torch.allclose(
        vaccine.logits(images), _naive_logits(teacher.network, images, vaccine.layer_names, seed=2), atol=1e-5
    )


def test_suspicious_are_the_images_that_keep_their_class_and_the_penalty_is_their_mean_kl(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher = make_teacher()
    vaccine = _vaccine(teacher)
    answering = AnsweringTeacher(teacher.network, compute)
    answering.share_trunk(vaccine.trunk)
    images = torch.rand(32, 3, 8, 8) * torch.rand(32, 3, 1, 1)
    answer = answering(images)
    shuffled = _naive_logits(teacher.network, images, vaccine.layer_names, seed=0)
    same = shuffled.argmax(1) == answer.logits.argmax(1)
    assert torch.equal(vaccine.suspicious(images, answer), same)
    assert 0 < int(same.sum()) < 32, "the example must have both kinds"
    by_hand = kl_per_image(shuffled, answer.logits)[same].mean()
    assert float(vaccine.penalty(images, answer)) == pytest.approx(float(by_hand), rel=1e-4)


def test_no_suspicious_image_is_no_penalty(make_teacher: Callable[..., Teacher], compute: Compute) -> None:
    teacher = make_teacher(num_classes=2)
    vaccine = _vaccine(teacher)
    answering = AnsweringTeacher(teacher.network, compute)
    answering.share_trunk(vaccine.trunk)
    images = torch.rand(64, 3, 8, 8)
    answer = answering(images)
    lost = ~vaccine.suspicious(images, answer)
    assert lost.any(), "the example must have such an image"
    answer = answering(images[lost])
    assert float(vaccine.penalty(images[lost], answer)) == 0.0


def test_tail_ratio_counts_below_three_population_deviations_of_the_logarithm() -> None:
    # k of n values lie x below the others: that is more than three deviations below the mean just where n > 10 k.
    for below, count, expected in ((4, 41, 4 / 41), (4, 39, 0.0), (1, 11, 1 / 11), (1, 9, 0.0)):
        exponents = torch.tensor([-5.0] * below + [0.5] * (count - below))
        assert tail_ratio(10**exponents) == pytest.approx(expected), (below, count)
    assert tail_ratio(torch.full((50,), 0.5)) == 0.0


def test_a_divergence_of_zero_is_very_small_and_not_minus_infinity() -> None:
    ratio = tail_ratio(torch.cat([torch.ones(97), torch.zeros(3)]))
    assert math.isfinite(ratio) and ratio == pytest.approx(0.03)


def test_the_check_reshuffles_until_the_tail_is_heavy_enough(
    make_teacher: Callable[..., Teacher], answering: AnsweringTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    vaccine = _vaccine(make_teacher(), block_names=())
    images = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8)
    before = vaccine.state_dict()
    ratios = iter([0.0, 0.02, 0.021])
    monkeypatch.setattr(module, "tail_ratio", lambda divergence: next(ratios))
    outcome = checked(vaccine, answering, images, _random(1))
    assert (outcome.accepted, outcome.tail_ratio, outcome.trials) == (True, 0.021, 3)
    assert any(not torch.equal(before[name], value) for name, value in vaccine.state_dict().items())
    monkeypatch.setattr(module, "tail_ratio", lambda divergence: 0.01)
    outcome = checked(vaccine, answering, images, _random(1))
    assert (outcome.accepted, outcome.trials) == (False, 8)


def test_the_check_judges_the_per_image_kl_of_pixels(
    make_teacher: Callable[..., Teacher], answering: AnsweringTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = make_teacher()
    vaccine = _vaccine(teacher, block_names=())
    images = torch.randint(0, 256, (510, 3, 8, 8), dtype=torch.uint8)
    judged: list[torch.Tensor] = []
    monkeypatch.setattr(module, "tail_ratio", lambda divergence: judged.append(divergence) or 0.5)
    assert checked(vaccine, answering, images, _random()).accepted
    monkeypatch.setattr(kept_answers, "_VALUES_AT_ONCE", 7 * images[0].numel())
    monkeypatch.setattr(kept_answers, "MOST_BYTES", 0)  # as if the images were large
    assert checked(vaccine, answering, images, _random()).accepted
    assert torch.allclose(judged[0], judged[1], atol=1e-6)
    shuffled = _naive_logits(teacher.network, images / 255, vaccine.layer_names, seed=0)
    expected = kl_per_image(shuffled, teacher.network(images / 255))
    assert torch.allclose(judged[0], expected, atol=1e-5)


def test_a_restored_vaccine_is_the_same(make_teacher: Callable[..., Teacher]) -> None:
    teacher, images = make_teacher(), torch.rand(3, 3, 8, 8)
    first, second = (_vaccine(teacher, seed=seed, block_names=()) for seed in (1, 2))
    assert not torch.equal(first.logits(images), second.logits(images))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.logits(images), second.logits(images))


def test_a_convolution_that_reads_the_image_itself_is_not_shuffled() -> None:
    patches_to_tokens = nn.Sequential(nn.Conv2d(3, 4, 2), nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 2))
    assert shufflable_layers(patches_to_tokens, image_channels=3) == ["2"]
