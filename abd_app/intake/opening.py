"""Opening a teacher file: the two ways into this room."""

from __future__ import annotations

import torch
from torch import nn

from abd_app.errors import MissingFactsError, TeacherRefusedError, UsageError
from abd_app.intake.candidate import Candidate, ResizedInput
from abd_app.intake.facts import SettledFacts, settle
from abd_app.intake.private_copy import PrivateCopy, private_copy
from abd_app.intake.reading import read_candidate
from abd_app.networks.catalog import stage_names
from abd_app.networks.pixels import PixelNetwork
from abd_app.plan import TeacherFacts
from abd_app.teacher import ImageSpec, Question, Teacher, TeacherCard


def inspect_teacher(file: str, facts: TeacherFacts) -> TeacherCard:
    """What a teacher file is; facts that nobody states become questions of the card.

    Raises:
        TeacherRefusedError: The file is not a usable teacher.
        UsageError: There is no such file, or ``facts`` contradict it.
    """
    with private_copy(file) as copy:
        candidate = read_candidate(copy, facts)
        return _card(copy, candidate, settle(candidate, facts))


def open_teacher(file: str, facts: TeacherFacts) -> Teacher:
    """The teacher in a file, ready to answer.

    Raises:
        MissingFactsError: Neither the file nor ``facts`` say something that is needed; the message names the options.
        TeacherRefusedError: The file is not a usable teacher.
        UsageError: There is no such file, or ``facts`` contradict it.
    """
    with private_copy(file) as copy:
        candidate = read_candidate(copy, facts)
        settled = settle(candidate, facts)
        card = _card(copy, candidate, settled)
    network = candidate.network
    if network is None:
        raise _no_architecture(candidate, card)
    missing = [question for question in card.questions if question.required]
    if missing:
        raise _missing(card, missing)
    spec = _image_spec(card)
    size = (spec.height, spec.width)
    if candidate.fixed_size not in (None, size) and candidate.fixed_size is not None:
        network = ResizedInput(network, candidate.fixed_size)
    pixels = PixelNetwork(network, mean=spec.mean, std=spec.std, answers=card.answers or "logits")
    pixels.eval().requires_grad_(False)
    _check_forward(pixels, spec, card)
    return Teacher(pixels, spec, card, tuple(f"network.{name}" for name in stage_names(network)))


def _card(copy: PrivateCopy, candidate: Candidate, settled: SettledFacts) -> TeacherCard:
    names = candidate.stated.class_names
    return TeacherCard(
        file=str(copy.original),
        sha256=copy.sha256,
        size_bytes=copy.size_bytes + sum(file.size_bytes for file in candidate.data_files),
        format=candidate.kind.value,
        architecture=candidate.architecture,
        num_classes=settled.num_classes,
        channels=candidate.channels,
        input_size=settled.input_size,
        mean=settled.mean,
        std=settled.std,
        answers=settled.answers,
        parameters=candidate.parameters,
        batchnorm_layers=candidate.batchnorm_layers,
        class_names=names if len(names) == settled.num_classes else (),
        findings=settled.findings,
        questions=settled.questions,
        data_files=candidate.data_files,
    )


def _image_spec(card: TeacherCard) -> ImageSpec:
    assert card.input_size and card.channels and card.num_classes and card.mean and card.std
    return ImageSpec(
        height=card.input_size[0],
        width=card.input_size[1],
        channels=card.channels,
        num_classes=card.num_classes,
        mean=card.mean,
        std=card.std,
    )


def _check_forward(network: nn.Module, spec: ImageSpec, card: TeacherCard) -> None:
    images = torch.full((2, spec.channels, spec.height, spec.width), 0.5)
    try:
        with torch.no_grad():
            answer = network(images)
            shape = tuple(answer.shape)
    except Exception as error:  # Layers complain about sizes in many ways.
        raise UsageError(
            f"The teacher cannot take {spec.height}x{spec.width} images.",
            where="--size",
            why=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}",
            remedy="Give the size it was trained on.",
        ) from error
    if shape != (2, spec.num_classes):
        raise TeacherRefusedError(
            "The teacher does not answer one row of logits per image.",
            where=card.file,
            why=f"For 2 images it answers {shape}, not {(2, spec.num_classes)}.",
            remedy="Open an image classifier.",
        )

    if not answer.isfinite().all():
        raise TeacherRefusedError(
            "The teacher answers with numbers that are none (NaN or infinite).",
            where=card.file,
            why="Some of its weights are no numbers, or so large that its layers overflow.",
            remedy="Ask its author for an intact file.",
        )


def _no_architecture(candidate: Candidate, card: TeacherCard) -> TeacherRefusedError:
    return TeacherRefusedError(
        "No architecture of the app fits these weights.",
        where=card.file,
        why="Nearest: " + "; ".join(fit.describe() for fit in candidate.nearest) + ".",
        remedy="Give the right one with --arch if you know it, or export the model as ONNX and open that.",
    )


def _missing(card: TeacherCard, missing: list[Question]) -> MissingFactsError:
    wanted = {"input_size": "its image size", "mean_std": "its normalisation"}
    facts = " and ".join(wanted.get(question.fact, question.fact) for question in missing)
    return MissingFactsError(
        f"The teacher file does not say {facts}.",
        where=card.file,
        why=" ".join(question.why for question in missing),
        remedy=f"Give {' '.join(_as_options(question) for question in missing)} if that is right.",
    )


def _as_options(question: Question) -> str:
    if question.fact == "mean_std":
        mean, _, std = question.guess.partition(" / ")
        return f"--mean {mean} --std {std}"
    return f"{question.option.split()[0]} {question.guess}"
