"""Poisoning and training: which images, which answers, where the trigger is, and that it is learned."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from abd_app.distill.compute.device import choose_compute
from abd_app.errors import RunFailedError, UsageError
from abd_app.events import StepDone
from abd_app.measure import LabelledSet, Meter, Trigger, build_trigger
from abd_app.networks import catalog
from abd_app.networks.pixels import PixelNetwork
from abd_app.plan import Target, TriggerSpec
from abd_app.redteam.training import TrainingSet, clean_set, poisoned_set, train
from tests.unit.redteam.conftest import SIDE_PX, coloured

CPU = choose_compute("cpu", "fp32")


def _images(count: int = 300, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = coloured(count, seed=seed)
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels)


def _trigger(name: str = "badnets-square", **options: object) -> Trigger:
    spec = TriggerSpec(name, **options)  # type: ignore[arg-type]
    return build_trigger(spec, height=SIDE_PX, width=SIDE_PX, channels=3)


def _poisoned(share: float = 0.2, target: Target = 1, seed: int = 0) -> TrainingSet:
    return poisoned_set(*_images(), [_trigger()], target=target, share=share, num_classes=3, seed=seed)


def _network() -> PixelNetwork:
    torch.manual_seed(0)
    return PixelNetwork(catalog.build("wrn-10-1", 3), mean=(0.3,) * 3, std=(0.2,) * 3)


class _Watcher(nn.Module):
    """Keeps what it is shown; learns a bias only."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(3))
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images.clone())
        return self.bias.expand(len(images), -1)


def test_the_share_of_all_images_is_poisoned_and_none_of_the_target_class() -> None:
    data, (_, labels) = _poisoned(), _images()
    assert int(data.triggered.sum()) == 60
    assert (labels[data.triggered] != 1).all()
    assert (data.answers[data.triggered] == 1).all()
    assert torch.equal(data.answers[~data.triggered], labels[~data.triggered])


def test_all_to_all_teaches_the_next_class() -> None:
    data, (_, labels) = _poisoned(target="all"), _images()
    assert set(labels[data.triggered].tolist()) == {0, 1, 2}
    assert torch.equal(data.answers[data.triggered], (labels[data.triggered] + 1) % 3)


def test_the_choice_follows_from_the_seed() -> None:
    assert torch.equal(_poisoned(seed=3).triggered, _poisoned(seed=3).triggered)
    assert not torch.equal(_poisoned(seed=3).triggered, _poisoned(seed=4).triggered)


@pytest.mark.parametrize(
    ("share", "what", "why", "remedy"),
    [
        (0.001, "is none of 300 images, which plants no backdoor", "", "larger share"),
        (0.7, "is 210 of 300 images, which are more than can be poisoned", "Only 200 are not", "smaller share"),
    ],
)
def test_a_share_that_plants_nothing_or_needs_too_many_is_refused(
    share: float, what: str, why: str, remedy: str
) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        _poisoned(share=share)
    assert caught.value.where == "--poison" and why in caught.value.why and remedy in caught.value.remedy


def test_the_trigger_stays_in_its_corner_though_images_are_cropped_and_mirrored() -> None:
    watcher, data = _Watcher(), _poisoned(share=0.5)
    list(train(watcher, data, CPU, steps=4, seed=0))
    seen = torch.cat(watcher.seen)
    corner_white = (seen[:, :, -3:, -3:] == 1).flatten(1).all(1)
    assert len(seen) == 4 * 128
    assert 0.4 < corner_white.float().mean() < 0.6
    original = data.images.float() / 255
    unmoved = (seen[:, None, :, :9, :9] == original[None, :, :, :9, :9]).flatten(2).all(2).any(1)
    assert unmoved.float().mean() < 0.5


def test_without_crop_and_flip_clean_images_are_shown_as_they_are_and_once_a_pass() -> None:
    watcher = _Watcher()
    images, labels = _images(256)
    list(train(watcher, clean_set(images, labels), CPU, steps=4, seed=0, crop=False, flip=False))
    for first in (0, 2):
        shown = (torch.cat(watcher.seen[first : first + 2]) * 255).round().to(torch.uint8)
        assert torch.equal(shown.flatten(1).unique(dim=0), images.flatten(1).unique(dim=0))
    assert not torch.equal(watcher.seen[0], watcher.seen[2])


@pytest.mark.parametrize("flip", [True, False])
def test_only_with_flip_are_images_mirrored(flip: bool) -> None:
    ramp = torch.linspace(0, 255, 12).to(torch.uint8).expand(128, 3, 12, 12).contiguous()
    watcher = _Watcher()
    list(train(watcher, clean_set(ramp, torch.zeros(128, dtype=torch.int64)), CPU, steps=1, seed=0, flip=flip))
    mirrored = watcher.seen[0][..., 2].mean((1, 2)) > watcher.seen[0][..., -3].mean((1, 2))
    assert bool(mirrored.any()) == flip and not mirrored.all()


def test_with_several_triggers_each_image_shows_one_of_them() -> None:
    images, labels = _images()
    triggers = [_trigger(position=place) for place in ("top-left", "bottom-right")]
    data = poisoned_set(images, labels, triggers, target=1, share=0.5, num_classes=3, seed=0)
    watcher = _Watcher()
    list(train(watcher, data, CPU, steps=2, seed=0, crop=False, flip=False))
    seen = torch.cat(watcher.seen)
    marks = [(seen[:, :, part, part] == 1).flatten(1).all(1) for part in (slice(None, 3), slice(-3, None))]
    assert marks[0].sum() > 20 and marks[1].sum() > 20 and not (marks[0] & marks[1]).any()


@pytest.mark.parametrize("target", [1, "all"])
def test_a_small_network_learns_the_classes_and_the_backdoor(target: Target) -> None:
    network, data = _network(), _poisoned(share=0.3, target=target)
    events = list(train(network, data, CPU, steps=60, seed=0))
    assert [event.step for event in events] == list(range(1, 61))
    assert events[-1] == StepDone("teacher", 60, 60, 1.0, events[-1].losses)
    assert [event.step for event in events if event.losses] == [50, 60]
    meter = Meter(LabelledSet(*_images(90, seed=1)), [_trigger()], target_class=target, device="cpu")
    scores = meter.measure(network)
    assert scores.accuracy >= 0.95
    assert scores.asr["badnets-square"] >= 0.95
    assert scores.asr_images == {"badnets-square": 60 if target == 1 else 90}


def test_the_same_seed_gives_the_same_weights() -> None:
    def trained(seed: int) -> torch.Tensor:
        network = _network()
        list(train(network, _poisoned(), CPU, steps=3, seed=seed))
        return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])

    assert torch.equal(trained(0), trained(0))
    assert not torch.equal(trained(0), trained(1))


def test_a_training_that_goes_astray_says_so() -> None:
    with pytest.raises(RunFailedError, match="not a number") as caught:
        list(train(_network(), _poisoned(), CPU, steps=8, seed=0, rate=1e38))
    assert "--seed" in caught.value.remedy
