"""Opening a teacher file: the ways into this room."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from abd_app.errors import MissingFactsError, TeacherRefusedError, UsageError, first_line
from abd_app.intake.candidate import Candidate, ResizedInput
from abd_app.intake.facts import SettledFacts, settle
from abd_app.intake.memory_limit import is_for_lack_of_memory, no_room
from abd_app.intake.private_copy import PrivateCopy, private_copy
from abd_app.intake.reading import read_candidate
from abd_app.networks.catalog import stage_names
from abd_app.networks.pixels import PixelNetwork
from abd_app.plan import TeacherFacts
from abd_app.teacher import ImageSpec, Question, Teacher, TeacherCard


@dataclass(frozen=True)
class TeacherFile:
    """A teacher file that was read once, for both its card and its teacher.

    Attributes:
        card: What it is; facts that nobody states are questions of the card.
    """

    card: TeacherCard
    _candidate: Candidate

    def teacher(self) -> Teacher:
        """The teacher, ready to answer. Nothing is read again; its network is the same one at every call.

        Raises:
            MissingFactsError: Something that is needed is still a question; the message names the options.
            TeacherRefusedError: It is not a usable teacher.
            UsageError: It cannot take images of the given size.
            RunFailedError: The memory does not hold its answers to them.
        """
        network, fixed_size = self._candidate.network, self._candidate.fixed_size
        if network is None:
            raise _no_architecture(self._candidate, self.card)
        if self.card.questions:
            raise _missing(self.card)
        spec = _image_spec(self.card)
        if fixed_size is not None and fixed_size != (spec.height, spec.width):
            network = ResizedInput(network, fixed_size)
        pixels = PixelNetwork(network, mean=spec.mean, std=spec.std, answers=self.card.answers or "logits")
        pixels.eval().requires_grad_(False)
        _check_forward(pixels, spec, self.card)
        return Teacher(pixels, spec, self.card, tuple(f"network.{name}" for name in stage_names(network)))


def read_teacher(file: str, facts: TeacherFacts) -> TeacherFile:
    """Reads a teacher file once, for both its card and its teacher.

    Raises:
        TeacherRefusedError: The file is not a usable teacher.
        UsageError: There is no such file, or ``facts`` contradict it.
    """
    with private_copy(file) as copy:
        candidate = read_candidate(copy, facts)
        return TeacherFile(_card(copy, candidate, settle(candidate, facts)), candidate)


def inspect_teacher(file: str, facts: TeacherFacts) -> TeacherCard:
    """What a teacher file is; facts that nobody states become questions of the card.

    Raises:
        TeacherRefusedError: The file is not a usable teacher.
        UsageError: There is no such file, or ``facts`` contradict it.
    """
    return read_teacher(file, facts).card


def open_teacher(file: str, facts: TeacherFacts) -> Teacher:
    """The teacher in a file, ready to answer.

    Raises:
        MissingFactsError: Neither the file nor ``facts`` say something that is needed; the message names the options.
        TeacherRefusedError: The file is not a usable teacher.
        UsageError: There is no such file, or ``facts`` contradict it.
    """
    return read_teacher(file, facts).teacher()


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
        batchnorm_folded=candidate.batchnorm_folded,
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
    try:
        images = torch.full((2, spec.channels, spec.height, spec.width), 0.5)
        with torch.no_grad():
            answer = network(images)
            shape = tuple(answer.shape)
    except Exception as error:  # Layers complain about sizes in many ways.
        if is_for_lack_of_memory(error):
            raise no_room(card.file, error) from error
        raise UsageError(
            f"The teacher cannot take {spec.height}x{spec.width} images.",
            where="--size",
            why=first_line(error)[:200],
            remedy="Give the size it was trained on.",
        ) from error
    if shape != (2, spec.num_classes):
        raise TeacherRefusedError(
            "The teacher does not return one row of logits per image.",
            where=card.file,
            why=f"For 2 images it returns the shape {shape}, not {(2, spec.num_classes)}.",
            remedy="Open an image classifier.",
        )
    if not answer.isfinite().all():
        raise TeacherRefusedError(
            "The teacher's outputs contain NaN or infinity.",
            where=card.file,
            why="Some of its weights are NaN or infinite, or so large that its layers overflow.",
            remedy="Ask its author for an intact file.",
        )


def _no_architecture(candidate: Candidate, card: TeacherCard) -> TeacherRefusedError:
    return TeacherRefusedError(
        "No architecture of the app fits these weights.",
        where=card.file,
        why="Nearest: " + "; ".join(fit.describe() for fit in candidate.nearest) + ".",
        remedy="Give the right one with --arch if you know it, or export the model as ONNX and open that.",
    )


def _missing(card: TeacherCard) -> MissingFactsError:
    wanted = {"input_size": "its image size", "mean_std": "its normalisation"}
    facts = " and ".join(wanted.get(question.fact, question.fact) for question in card.questions)
    return MissingFactsError(
        f"The teacher file does not say {facts}.",
        where=card.file,
        why=" ".join(question.why for question in card.questions),
        remedy=f"Give {' '.join(_as_options(question) for question in card.questions)} if that is right.",
    )


def _as_options(question: Question) -> str:
    if question.fact == "mean_std":
        mean, _, std = question.guess.partition(" / ")
        return f"--mean {mean} --std {std}"
    return f"{question.option.split()[0]} {question.guess}"
