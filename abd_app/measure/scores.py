"""Clean accuracy and attack success rate, on tensors that already live on the device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import nn

from abd_app.errors import UsageError, out_of_memory
from abd_app.measure.evaluation import LabelledSet
from abd_app.measure.triggers import Trigger
from abd_app.plan import ALL_TO_ALL, Target

BATCH_SIZE = 512
_LEAST_ATTACKED = 10
"""One of so many of the images that stand for all is of another class than the target, if there are such."""
_PIXELS_AT_ONCE = 2**23
"""Of larger images fewer at a time, so that what a network holds of them does not grow with their size."""


class Scores(NamedTuple):
    """Everything that :class:`Meter` measures; rates in [0, 1], by trigger name, and by class index as text.

    ``asr_without_trigger``: how many of the images that an attack would turn are answered as the attacker wants,
    although they have no trigger; ``None`` without triggers.
    """

    accuracy: float
    images: int
    asr: dict[str, float]
    asr_images: dict[str, int]
    accuracy_by_class: dict[str, float]
    images_by_class: dict[str, int]
    asr_without_trigger: float | None = None


def _some(limit: int, attacked: torch.Tensor) -> torch.Tensor:
    """Indices, always the same and in order; at random, since at even distances lie images of a few classes alone.

    Args:
        limit: How many, fewer than there are.
        attacked: ``(N,)`` bool, which images an attack would turn: of few, some are taken all the same.
    """
    drawn = torch.randperm(len(attacked), generator=torch.Generator().manual_seed(0))
    victims = drawn[attacked[drawn]][: max(1, limit // _LEAST_ATTACKED)]
    others = drawn[~torch.isin(drawn, victims)]
    return torch.cat([victims, others])[:limit].sort().values


def wanted_answers(labels: torch.Tensor, target: Target, num_classes: int) -> torch.Tensor:
    """What the attacker wants triggered images answered with: ``target``, or with ``all`` ``(label + 1) mod K``.

    Args:
        labels: ``(N,)`` int64, the true classes.
        target: The attacker's goal.
        num_classes: K.

    Returns:
        ``(N,)`` int64 on the device of ``labels``. Where it is the true class, there is nothing to attack.
    """
    if target == ALL_TO_ALL:
        return (labels + 1) % num_classes
    return torch.full_like(labels, target)


class Meter:
    """Measures one model after the other on the same images and triggers; waits for the device once per model.

    Args:
        evaluation: Labelled images; kept on ``device`` as uint8.
        triggers: Built for these images.
        target_class: The attacker's class, or ``all``.
        device: Where the models to be measured live.
        limit: At most so many images, always the same: drawn at random, but a tenth at least of classes other than
            the target, where there are so many; ``None``: all.
        precision: ``bf16`` for autocast, else ``fp32``.
        names: What the scores call the triggers; ``None``: as these call themselves.

    Raises:
        UsageError: Triggers are given but all images belong to the target class.
    """

    def __init__(
        self,
        evaluation: LabelledSet,
        triggers: Sequence[Trigger],
        *,
        target_class: Target,
        device: torch.device | str,
        limit: int | None = None,
        batch_size: int = BATCH_SIZE,
        precision: str = "fp32",
        names: Sequence[str] | None = None,
    ) -> None:
        count = len(evaluation.images)
        attacked = _attacked(evaluation.labels, target_class)
        chosen = torch.arange(count) if limit is None or limit >= count else _some(limit, attacked)
        self._images = evaluation.images[chosen].to(device)
        self._class_sizes = torch.bincount(evaluation.labels[chosen]).tolist()
        self._labels = evaluation.labels[chosen].to(device)
        self._triggers = [trigger.to(device) for trigger in triggers]
        self._names = [trigger.name for trigger in triggers] if names is None else list(names)
        self._victims = _victims(self._labels, target_class) if triggers else self._labels[:0]
        self._target_class = target_class
        self._batch_size = max(1, min(batch_size, _PIXELS_AT_ONCE // (self._images.shape[2] * self._images.shape[3])))
        self._precision = precision

    def measure(self, network: nn.Module) -> Scores:
        """Clean accuracy, overall and of each class that has images, and the ASR of every trigger.

        ``network`` keeps its train or eval mode.

        Where memory does not hold a batch it is halved, for good; the figures are the same.
        """
        while True:
            try:
                return self._measured(network)
            except RuntimeError as error:
                if not out_of_memory(error) or self._batch_size < 2:
                    raise
                self._batch_size //= 2

    def _measured(self, network: nn.Module) -> Scores:
        images, victims, size = self._images, self._victims, self._batch_size
        with evaluating(network, images.device, self._precision):
            answers, num_classes = _answers(network, images.split(size))
            right = (answers == self._labels).long()
            wanted = wanted_answers(self._labels[victims], self._target_class, num_classes)
            turned = [answers[victims] == wanted]
            for trigger in self._triggers:
                stamped = _answers(network, (images[some] for some in victims.split(size)), stamp=trigger)[0]
                turned.append(stamped == wanted)
            by_class = right.new_zeros(len(self._class_sizes)).index_add_(0, self._labels, right)
            counts = torch.cat([by_class, *(one.sum()[None] for one in turned)]).tolist()
        correct, (untouched, *successes) = counts[: len(self._class_sizes)], counts[len(self._class_sizes) :]
        of_class = {str(index): number for index, number in enumerate(self._class_sizes) if number}
        return Scores(
            accuracy=sum(correct) / len(images),
            images=len(images),
            asr={name: count / len(victims) for name, count in zip(self._names, successes, strict=True)},
            asr_images={name: len(victims) for name in self._names},
            accuracy_by_class={index: correct[int(index)] / number for index, number in of_class.items()},
            images_by_class=of_class,
            asr_without_trigger=untouched / len(victims) if self._triggers else None,
        )


@contextlib.contextmanager
def evaluating(network: nn.Module, device: torch.device, precision: str = "fp32") -> Iterator[None]:
    """Eval mode without gradients, in ``precision``; every module gets its own train or eval mode back."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            yield
    finally:
        for module, training in modes:
            module.training = training


def predict(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """``(N,)`` int64 classes for float images in [0, 1]; -1 where the answer holds a NaN."""
    return _decided(network(images))


def _decided(logits: torch.Tensor) -> torch.Tensor:
    return logits.argmax(1).masked_fill(logits.isnan().any(1), -1)


def _victims(labels: torch.Tensor, target_class: Target) -> torch.Tensor:
    """Indices of the images that an attack would turn."""
    others = _attacked(labels, target_class)
    if not others.any():
        raise UsageError(
            f"All evaluation images belong to the target class {target_class}, so no attack can be measured.",
            where="--data, --target",
            remedy="Give images of other classes too, or another target class.",
        )
    return others.nonzero()[:, 0]


def _attacked(labels: torch.Tensor, target_class: Target) -> torch.Tensor:
    """Which images an attack would turn: all but those of the target class, ``(N,)`` bool."""
    return torch.ones_like(labels, dtype=torch.bool) if target_class == ALL_TO_ALL else labels != target_class


def _answers(
    network: nn.Module,
    parts: Iterable[torch.Tensor],
    *,
    stamp: Callable[[torch.Tensor], torch.Tensor] = lambda images: images,
) -> tuple[torch.Tensor, int]:
    """What batches of uint8 images are answered with, ``(N,)`` int64 on the device, and how many classes there are."""
    answers, num_classes = list[torch.Tensor](), 0
    for part in parts:
        logits = network(stamp(part.float().div_(255)))
        answers.append(_decided(logits))
        num_classes = logits.shape[1]
    return torch.cat(answers), num_classes
