"""The images of an order: read, brought to one size, and divided into those to train on and those to measure on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from abd_app.errors import UsageError
from abd_app.measure import LabelledSet, load_evaluation
from abd_app.measure.survey import survey_images
from abd_app.plan import TeacherFacts
from abd_app.redteam.order import TeacherOrder
from abd_app.teacher import Finding, ImageSpec

HELD_OUT_SHARE = 0.1
_SMALLEST_STD = 1 / 255


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Everything that a teacher is trained and measured on.

    Attributes:
        spec: Size, colours, classes, and mean and standard deviation of the training images.
        class_names: By class index; empty if the images do not name their classes.
        findings: What was done to the images.
        measured_on: Where the test images come from, in words.
    """

    training: LabelledSet
    test: LabelledSet
    spec: ImageSpec
    class_names: tuple[str, ...]
    findings: tuple[Finding, ...]
    measured_on: str


def load_images(order: TeacherOrder) -> LabelledImages:
    """Reads ``order.data`` and ``order.test``.

    Raises:
        UsageError: They cannot be read, do not belong together, or leave a class without images.
    """
    survey = survey_images(order.data, option="DATA", part="train")
    names = survey.class_names
    height, width = order.input_size or (survey.height, survey.width)
    TeacherFacts(num_classes=survey.num_classes, input_size=(height, width))  # refuses what no plan could open
    plain = (0.0,) * survey.channels, (1.0,) * survey.channels
    spec = ImageSpec(height, width, survey.channels, survey.num_classes, *plain)
    training = load_evaluation(
        order.data, spec, class_names=names, called="training images", option="DATA", part="train"
    )
    if order.test is None:
        training, test = _held_out(training, order.seed)
        measured_on = f"{HELD_OUT_SHARE:.0%} of the images of each class, kept out of training"
    else:
        test = load_evaluation(order.test, spec, class_names=names, called="test images", option="--test")
        measured_on = "the images of --test"
    _check_classes(training, spec.num_classes)
    mean, std = mean_and_std(training.images)
    spec = ImageSpec(height, width, survey.channels, survey.num_classes, mean, std)
    findings = tuple(dict.fromkeys((*training.findings, *test.findings)))
    return LabelledImages(training, test, spec, names, findings, measured_on)


def mean_and_std(images: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of ``(N, C, H, W)`` uint8 images by channel, of pixels in [0, 1], to 4 decimals.

    A channel of one value gets 1/255, so that it can be divided by.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in range(images.shape[1]):
        share = torch.bincount(images[:, channel].flatten(), minlength=256).double()
        share /= share.sum()
        mean = (share * levels).sum()
        means.append(round(mean.item(), 4))
        stds.append(round(max((share * (levels - mean) ** 2).sum().sqrt().item(), _SMALLEST_STD), 4))
    return tuple(means), tuple(stds)


def _held_out(images: LabelledSet, seed: int) -> tuple[LabelledSet, LabelledSet]:
    """Training and test images; a tenth of each class, rounded up, is held out, and nothing of a single image."""
    order = torch.randperm(len(images.labels), generator=torch.Generator().manual_seed(seed))
    held = torch.zeros(len(order), dtype=torch.bool)
    for label in images.labels.unique():
        rows = order[images.labels[order] == label]
        held[rows[: math.ceil(HELD_OUT_SHARE * len(rows)) if len(rows) > 1 else 0]] = True
    if not held.any():
        raise UsageError(
            "There are too few images to keep some out of training.",
            where="DATA",
            why="No class has more than one.",
            remedy="Give more images, or others to measure on with --test.",
        )
    parts = (LabelledSet(images.images[rows], images.labels[rows]) for rows in (~held, held))
    training, test = parts
    return LabelledSet(training.images, training.labels, findings=images.findings), test


def _check_classes(training: LabelledSet, num_classes: int) -> None:
    counts = torch.bincount(training.labels, minlength=num_classes)
    missing = (counts == 0).nonzero()[:, 0].tolist()
    if missing:
        raise UsageError(
            f"There are no training images of class {', '.join(map(str, missing[:5]))}{' ...' * (len(missing) > 5)}.",
            where="DATA",
            why=f"The highest class index is {num_classes - 1}, and what is not shown cannot be learned.",
            remedy="Count classes from 0 without a gap, and give images of each.",
        )
