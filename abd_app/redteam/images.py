"""The images of an order: read, brought to one size, and divided into those to train on and those to measure on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from abd_app.errors import UsageError
from abd_app.measure import LabelledSet, load_evaluation
from abd_app.measure.survey import Survey, survey_images
from abd_app.plan import TeacherFacts
from abd_app.redteam.order import TeacherOrder
from abd_app.teacher import Finding, ImageSpec
from abd_app.text import percent

HELD_OUT_SHARE = 0.1
_SMALLEST_STD = 1 / 255
_SHOWN = 5
"""So many classes without images are named; the others are counted."""


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
    if survey.num_classes < 2:
        raise UsageError(
            "A classifier has at least 2 classes, and these images are of 1.",
            where=f"DATA {order.data}",
            remedy="Give a folder with one sub-folder per class, or an .npz with labels from 0 to at least 1.",
        )
    height, width = _input_size(order, survey)
    plain = (0.0,) * survey.channels, (1.0,) * survey.channels
    spec = ImageSpec(height, width, survey.channels, survey.num_classes, *plain)
    training = load_evaluation(
        order.data, spec, class_names=names, called="training images", option="DATA", part="train"
    )
    if order.test is None:
        training, test = _held_out(training, order)
        measured_on = f"{percent(HELD_OUT_SHARE, 0)} of the images of each class, kept out of training"
    else:
        test = load_evaluation(order.test, spec, class_names=names, called="test images", option="--test")
        measured_on = "the images of --test"
    _check_classes(training, survey, order.data)
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


def _held_out(images: LabelledSet, order: TeacherOrder) -> tuple[LabelledSet, LabelledSet]:
    """Training and test images; a tenth of each class, rounded up, is held out, and nothing of a single image."""
    shuffled = torch.randperm(len(images.labels), generator=torch.Generator().manual_seed(order.seed))
    held = torch.zeros(len(shuffled), dtype=torch.bool)
    for label in images.labels.unique():
        rows = shuffled[images.labels[shuffled] == label]
        held[rows[: math.ceil(HELD_OUT_SHARE * len(rows)) if len(rows) > 1 else 0]] = True
    if not held.any():
        raise UsageError(
            "There are too few images to keep some out of training.",
            where=f"DATA {order.data}",
            why="No class has more than one.",
            remedy="Give more images, or others to measure on with --test.",
        )
    parts = (LabelledSet(images.images[rows], images.labels[rows]) for rows in (~held, held))
    training, test = parts
    return LabelledSet(training.images, training.labels, findings=images.findings), test


def _input_size(order: TeacherOrder, survey: Survey) -> tuple[int, int]:
    """As it was asked for, or as the images are; refuses what no plan could open."""
    size = order.input_size or (survey.height, survey.width)
    try:
        TeacherFacts(input_size=size)
    except UsageError as error:
        if order.input_size is None:
            error.where = f"DATA {survey.first_picture or order.data}"
            error.why = f"Without --size it is that of the {'first picture' if survey.first_picture else 'images'}."
            error.remedy = "Add --size, each side from 8 to 1024 pixels, e.g. --size 32x32: images are resized to it."
        raise
    return size


def _check_classes(training: LabelledSet, survey: Survey, data: str) -> None:
    counts = torch.bincount(training.labels, minlength=survey.num_classes)
    missing = (counts == 0).nonzero()[:, 0].tolist()
    if missing:
        named = [repr(survey.class_names[label]) if survey.class_names else str(label) for label in missing]
        more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
        if survey.class_names:
            known, remedy = f"{survey.num_classes} classes are named", "Give images of each, or name no others."
        elif survey.first_picture is not None:
            known = f"The names of the class folders were read as class indices up to {survey.num_classes - 1}"
            remedy = "Name the folders 0, 1, 2, ... without a gap, or by more than a number if these are names."
        else:
            known = f"The highest label is {survey.num_classes - 1}"
            remedy = "Count classes from 0 without a gap, and give images of each."
        raise UsageError(
            f"There are no training images of class {', '.join(named[:_SHOWN])}{more}.",
            where=f"DATA {data}",
            why=f"{known}, and what is not shown cannot be learned.",
            remedy=remedy,
        )
