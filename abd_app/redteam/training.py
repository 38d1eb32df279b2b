"""Training a classifier, with a backdoor or without."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from abd_app.distill.compute.device import Compute, sent
from abd_app.distill.compute.recorded import RecordedPass
from abd_app.distill.sources.augment import shift_and_flip
from abd_app.errors import RunFailedError, UsageError
from abd_app.events import StepDone
from abd_app.measure import Trigger, wanted_answers
from abd_app.plan import Target

BATCH = 128
LEARNING_RATE = 0.1
_WARM_UP = 0.15
_LOSS_EVERY = 50
_CROP_SHARE = 1 / 8
"""Largest shift of a random crop, of the image's side: 4 pixels of 32."""


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Images with the answers that the network is taught.

    Attributes:
        images: ``(N, C, H, W)`` uint8, without triggers, on the CPU.
        answers: ``(N,)`` int64; of a triggered image what the attacker wants.
        triggered: ``(N,)`` bool: which images are shown with a trigger.
        triggers: Of these, each time an image is shown, a random one.
    """

    images: torch.Tensor
    answers: torch.Tensor
    triggered: torch.Tensor
    triggers: tuple[Trigger, ...] = ()


def clean_set(images: torch.Tensor, labels: torch.Tensor) -> TrainingSet:
    """Images that are taught as what they are."""
    return TrainingSet(images, labels, torch.zeros(len(images), dtype=torch.bool))


def poisoned_set(
    images: torch.Tensor,
    labels: torch.Tensor,
    triggers: Sequence[Trigger],
    *,
    target: Target,
    share: float,
    num_classes: int,
    seed: int,
) -> TrainingSet:
    """Chooses the images that carry a trigger and changes their answers (dirty-label poisoning, Gu et al., 2017).

    They are drawn once, among the images whose class is not the wanted answer anyway.

    Args:
        images: ``(N, C, H, W)`` uint8.
        labels: ``(N,)`` int64, the true classes.
        target: The attacker's goal.
        share: Of all N images, in (0, 1).

    Raises:
        UsageError: The share rounds to no image, or there are not so many images of other classes.
    """
    wanted = wanted_answers(labels, target, num_classes)
    candidates = (wanted != labels).nonzero()[:, 0]
    count = _count(share, len(images), most=len(candidates))
    order = torch.randperm(len(candidates), generator=torch.Generator().manual_seed(seed))
    triggered = torch.zeros(len(images), dtype=torch.bool)
    triggered[candidates[order[:count]]] = True
    return TrainingSet(images, torch.where(triggered, wanted, labels), triggered, tuple(triggers))


def _count(share: float, images: int, *, most: int) -> int:
    """How many images are poisoned; at least one, at most those that can be."""
    count = round(share * images)
    if not count:
        raise UsageError(
            f"A poisoned share of {share:g} is none of {images} images, which plants no backdoor.",
            where="--poison",
            remedy="Give a larger share, or more images.",
        )
    if count > most:
        raise UsageError(
            f"A poisoned share of {share:g} is {count} of {images} images, which are more than can be poisoned.",
            where="--poison",
            why=f"Only {most} are not what the attacker wants already.",
            remedy="Give a smaller share, or another class with --target.",
        )
    return count


def train(
    network: nn.Module,
    data: TrainingSet,
    compute: Compute,
    *,
    steps: int,
    seed: int,
    rate: float = LEARNING_RATE,
    crop: bool = True,
    flip: bool = True,
) -> Iterator[StepDone]:
    """Trains ``network`` in place: SGD with Nesterov momentum, one cycle of the learning rate, batches of 128.

    Yields an event a step, with the loss every 50. The trigger is stamped on after crop and flip, so it is always where
    the attacker measures it: he trains the model himself and does not only slip pictures into somebody else's data.

    Args:
        network: ``(N, C, H, W)`` float images in [0, 1] -> logits, on the device of ``compute``; left in train mode.
        rate: Peak learning rate.
        crop, flip: Shift images at random by up to an eighth of their side; mirror them at random.

    Raises:
        RunFailedError: The loss is no longer a number.
    """
    random = torch.Generator().manual_seed(seed)
    lesson = _Lesson(data, compute, random, crop=crop, flip=flip)
    network.train()
    optimizer, schedule = _optimizer(network, rate, steps)
    gradient = _recorded_gradient(network, compute)
    for step, chosen in enumerate(_batches(len(data.images), steps, random), start=1):
        images, answers = lesson.batch(chosen)
        (loss,) = gradient(images, answers)
        optimizer.step()
        schedule.step()
        losses = {"loss": _finite(loss, step)} if step % _LOSS_EVERY == 0 or step == steps else {}
        yield StepDone("teacher", step, steps, step / steps, losses)


def _recorded_gradient(network: nn.Module, compute: Compute) -> RecordedPass:
    """A pass over images and answers that leaves its gradient in the weights and gives the loss.

    The optimiser is not in it: the schedule changes its momentum, which a recording would not notice.
    """

    def run(images: torch.Tensor, answers: torch.Tensor) -> tuple[torch.Tensor]:
        with compute.autocast():
            logits = network(images)
        loss = F.cross_entropy(logits.float(), answers)
        network.zero_grad()
        loss.backward()
        return (loss.detach(),)

    return RecordedPass(run, compute)


class _Lesson:
    """Shows chosen images of a training set as the network sees them: moved, mirrored, then triggered."""

    def __init__(self, data: TrainingSet, compute: Compute, random: torch.Generator, *, crop: bool, flip: bool) -> None:
        self._data, self._compute, self._random = data, compute, random
        self._triggers = [trigger.to(compute.device) for trigger in data.triggers]
        self._padding = max(1, round(min(data.images.shape[-2:]) * _CROP_SHARE)) if crop else 0
        self._flip = flip

    def batch(self, chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images in [0, 1] and answers of the rows ``chosen``, on the device."""
        images = self._compute.images(self._data.images[chosen]).float() / 255
        if self._padding or self._flip:
            images = shift_and_flip(images, self._random, self._padding, flips=self._flip)
        self._stamp(images, self._data.triggered[chosen].nonzero()[:, 0])
        return images, sent(self._data.answers[chosen], images.device)

    def _stamp(self, images: torch.Tensor, rows: torch.Tensor) -> None:
        """Puts a random trigger on each of the images that carry one, in place."""
        if not len(rows):
            return
        which = torch.randint(len(self._triggers), (len(rows),), generator=self._random)
        for index, trigger in enumerate(self._triggers):
            part = sent(rows[which == index], images.device)
            if len(part):
                images[part] = trigger(images[part])


def _optimizer(
    network: nn.Module, rate: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimizer = torch.optim.SGD(network.parameters(), rate, momentum=0.9, weight_decay=5e-4, nesterov=True, fused=True)
    # One step more than are taken: the cycle has no room for a run of a single one.
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps + 1, pct_start=_WARM_UP)


def _batches(count: int, steps: int, random: torch.Generator) -> Iterator[torch.Tensor]:
    """Row numbers of ``steps`` batches: each pass in a new order, its last batch left out unless it is full."""
    done = 0
    while True:
        for chosen in torch.randperm(count, generator=random).split(min(BATCH, count)):
            if done == steps:
                return
            if len(chosen) == min(BATCH, count):
                done += 1
                yield chosen


def _finite(loss: torch.Tensor, step: int) -> float:
    value = loss.item()
    if not math.isfinite(value):
        raise RunFailedError(
            f"The training has failed: its loss at step {step} is not a number.",
            remedy="Give another --seed or another --arch.",
        )
    return value
