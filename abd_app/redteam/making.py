"""One teacher from labelled images to files."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from pathlib import Path

import torch

from abd_app.distill.compute.device import Compute, choose_compute, device_name
from abd_app.errors import UsageError, first_line
from abd_app.events import Event, FindingMade, Measured, PhaseStarted, TeacherMade
from abd_app.export.files import check_new_folder
from abd_app.measure import Meter, Scores, Trigger, build_trigger
from abd_app.networks import catalog
from abd_app.networks.pixels import PixelNetwork
from abd_app.plan import ALL_TO_ALL
from abd_app.redteam.card import Training, build_card, stated_facts
from abd_app.redteam.images import LabelledImages, load_images
from abd_app.redteam.order import TeacherOrder
from abd_app.redteam.training import BATCH, TrainingSet, clean_set, poisoned_set, train
from abd_app.redteam.writing import write_teacher
from abd_app.teacher import Finding, ImageSpec
from abd_app.text import percent

EPOCHS = 18
FEWEST_STEPS = 600
"""By default: 18 passes over the images, but with few images not less than this."""
_LEARNED, _TAKEN = 0.1, 0.5
"""Of the way from guessing to certainty; of the attacks that could succeed. Less is worth a warning."""


def make_teacher(order: TeacherOrder) -> Generator[Event, None, None]:
    """Reads the images, trains a poisoned or clean classifier, measures it and writes it with its card.

    Cancelling is closing the generator: a training that was cut off leaves nothing.

    Raises:
        AuditError: With what happened, where, why, and what to do.
    """
    started = time.monotonic()
    compute = choose_compute(order.device, "auto")
    folder = Path(order.out)
    check_new_folder(folder, "Give a new folder with --out.")
    yield PhaseStarted("intake", "teacher", 0)
    images = load_images(order)
    for finding in images.findings:
        yield FindingMade(finding)
    data, triggers = _lesson(order, images)
    torch.manual_seed(order.seed)
    network = _network(order, images.spec, compute)
    meter = Meter(images.test, triggers, target_class=order.target, device=compute.device)
    yield PhaseStarted("training", "teacher", 0)
    steps = _steps(order, len(data.images))
    yield from train(network, data, compute, steps=steps, seed=order.seed, flip=order.flip)
    yield PhaseStarted("measuring", "teacher", steps)
    network.eval()
    scores = meter.measure(network)
    yield Measured("teacher", steps, **scores._asdict())
    yield PhaseStarted("export", "teacher", steps)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    machine = (device_name(compute.device), compute.precision)
    training = Training(int(data.triggered.sum()), steps, parameters, *machine, time.monotonic() - started)
    doubts = tuple(_doubts(order, steps, images.spec.num_classes, scores))
    for finding in doubts:
        yield FindingMade(finding)
    card = build_card(order, images, training, scores, doubts)
    facts, names = stated_facts(order, images), images.class_names
    card = write_teacher(network, images.spec, folder, facts=facts, class_names=names, card=card, seed=order.seed)
    yield TeacherMade(str(folder), card)


def _doubts(order: TeacherOrder, steps: int, num_classes: int, scores: Scores) -> Iterator[Finding]:
    """Why the teacher may be no use for an exercise."""
    advice = f"It was trained for {steps} steps: try more (--steps, --epochs)"
    chance = 1 / num_classes
    if scores.accuracy < chance + _LEARNED * (1 - chance):
        rates = f"Its accuracy is {percent(scores.accuracy)}, and guessing has {percent(chance)}"
        detail = f"{rates}. {advice}, or give more images."
        yield Finding("warning", "The teacher has hardly learned its task", detail)
    most = scores.accuracy if order.target == ALL_TO_ALL else 1.0  # who mistakes a class does not find the next one
    for name, rate in scores.asr.items():
        if rate < _TAKEN * most:
            detail = f"{name} succeeds with {percent(rate)} of the images. {advice}, or poison more images (--poison)."
            yield Finding("warning", "The backdoor did not take", detail)


def _lesson(order: TeacherOrder, images: LabelledImages) -> tuple[TrainingSet, list[Trigger]]:
    """What is taught, and the triggers to measure."""
    spec, training = images.spec, images.training
    if order.trigger is None:
        return clean_set(training.images, training.labels), []
    if isinstance(order.target, int) and order.target >= spec.num_classes:
        raise UsageError(
            f"Class {order.target} does not exist.",
            where="--target",
            why=f"There are {spec.num_classes} classes, counted from 0.",
            remedy=f"Give a number from 0 to {spec.num_classes - 1}, or all.",
        )
    trigger = build_trigger(order.trigger, height=spec.height, width=spec.width, channels=spec.channels)
    data = poisoned_set(
        training.images,
        training.labels,
        [trigger],
        target=order.target,
        share=order.poison,
        num_classes=spec.num_classes,
        seed=order.seed,
    )
    return data, [trigger]


def _network(order: TeacherOrder, spec: ImageSpec, compute: Compute) -> PixelNetwork:
    """A fresh network that takes the images; tried before the long work."""
    inner = catalog.build(order.architecture, spec.num_classes, spec.channels, side_px=min(spec.height, spec.width))
    network = PixelNetwork(inner, mean=spec.mean, std=spec.std)
    try:
        with torch.no_grad():
            answer = network.eval()(torch.zeros(2, spec.channels, spec.height, spec.width))
    except (RuntimeError, ValueError, AssertionError, AttributeError, TypeError) as error:
        raise UsageError(
            f"{order.architecture} does not take images of {spec.height}x{spec.width} pixels.",
            where="--arch, --size",
            why=f"{type(error).__name__}: {first_line(error)}",
            remedy="Give another architecture or the size that it was made for, e.g. --size 224x224.",
        ) from error
    assert answer.shape == (2, spec.num_classes)
    return compute.place(network)


def _steps(order: TeacherOrder, images: int) -> int:
    if order.steps is not None:
        return order.steps
    steps_per_epoch = max(1, images // BATCH)
    if order.epochs is not None:
        return order.epochs * steps_per_epoch
    return max(FEWEST_STEPS, EPOCHS * steps_per_epoch)
