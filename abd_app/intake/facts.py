"""What the file states and what the user says, brought together; what is left becomes questions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from abd_app.errors import UsageError
from abd_app.intake.candidate import Candidate
from abd_app.intake.guesses import guess_input_size, guess_mean_std, proposed_input_size, proposed_mean_std, written
from abd_app.intake.onnx_batch import OneByOne
from abd_app.intake.stated import LEAST_PX, MOST_PX, MOST_STD
from abd_app.plan import TeacherFacts
from abd_app.teacher import Answers, Finding, Question

_MOST_OF_A_BYTE = 255
_SMALL_PX = 64
_CHANGED_STEM = re.compile(r"(torchvision|timm)/(wide_)?(res|dense)ne")
"""Networks of ImageNet that people change for images of up to so many pixels."""


@dataclass(frozen=True)
class SettledFacts:
    """The facts about a teacher's images and answers; ``None`` where nobody has said."""

    num_classes: int | None
    input_size: tuple[int, int] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    answers: Answers | None
    findings: tuple[Finding, ...]
    questions: tuple[Question, ...]


def settle(candidate: Candidate, facts: TeacherFacts) -> SettledFacts:
    """Combines both sources; the user's word counts, unless the weights contradict it.

    Raises:
        UsageError: The user's word contradicts the weights.
    """
    _check(candidate, facts)
    channels = candidate.channels or 3
    mean, std = facts.mean or candidate.stated.mean, facts.std or candidate.stated.std
    if mean is not None and std is not None and len(mean) != channels:
        mean, std = (mean * channels, std * channels) if len(mean) == 1 else (None, None)
    size = facts.input_size or candidate.stated.input_size or candidate.fixed_size
    return SettledFacts(
        num_classes=candidate.num_classes or facts.num_classes or candidate.stated.num_classes,
        input_size=size,
        mean=mean,
        std=std,
        answers=candidate.answers if candidate.answers_logits_instead else facts.answers or candidate.answers,
        findings=(*candidate.findings, *_findings(candidate, facts, mean, size)),
        questions=_questions(candidate, facts, size=size, asks_normalisation=mean is None),
    )


def _findings(
    candidate: Candidate, facts: TeacherFacts, mean: tuple[float, ...] | None, size: tuple[int, int] | None
) -> list[Finding]:
    """What a reviewer should know of the facts that are used: ``mean``, with its standard deviation, and ``size``."""
    findings = _normalisation_findings(candidate, facts, mean)
    if None not in (facts.input_size, candidate.stated.input_size) and facts.input_size != candidate.stated.input_size:
        said = f"{_times(candidate.stated.input_size)} according to {candidate.stated.source('input_size')}"
        detail = f"It is {said}; what you gave is used."
        findings.append(Finding("warning", "Input size differs from what the file says", detail))
    if candidate.stated.has_unusable_size and candidate.stated.input_size is None:
        source = candidate.stated.source("has_unusable_size")
        detail = f"Sides must be from {LEAST_PX} to {MOST_PX} pixels; {source} says otherwise."
        findings.append(Finding("info", "Stated image size ignored", detail))
    closed = isinstance(candidate.network, OneByOne)  # has a finding of its own
    if candidate.network is not None and not candidate.batchnorm_layers and not closed:
        detail = "The image sources `cmi` and `fast` match BatchNorm statistics and are not available for this teacher."
        findings.append(Finding("info", "No BatchNorm layers", detail))
    if candidate.fixed_size not in (None, size):
        detail = (
            f"{_times(size)} images are resized to {_times(candidate.fixed_size)}, which its architecture requires."
        )
        findings.append(Finding("info", "Images are resized", detail))
    if size is not None and max(size) <= _SMALL_PX and _CHANGED_STEM.match(candidate.architecture or ""):
        detail = (
            "For small images its first strides and pooling are often changed, which weights do not show: check "
            "the accuracy."
        )
        findings.append(Finding("warning", f"{candidate.architecture} is built for larger images", detail))
    return findings


def _normalisation_findings(candidate: Candidate, facts: TeacherFacts, mean: tuple[float, ...] | None) -> list[Finding]:
    stated = candidate.stated
    if facts.mean is None:
        says = mean is not None and not candidate.normalises_inside
        return [Finding("info", "Normalisation stated", f"By {stated.source('mean')}.")] if says else []
    if stated.mean is None or stated.std is None:
        return []
    if candidate.normalises_inside:
        identity = set(facts.mean) == {0.0} and set(facts.std or ()) == {1.0}
        detail = "The graph already normalises its input; --mean and --std come on top of that."
        return [] if identity else [Finding("warning", "Normalised twice", detail)]
    if stated.mean == mean:
        return []
    said = f"{written(stated.mean)} / {written(stated.std)}"
    detail = f"Mean / std are {said} according to {stated.source('mean')}; what you gave is used."
    return [Finding("warning", "Normalisation differs from what the file says", detail)]


def _check_normalisation(facts: TeacherFacts) -> None:
    """Refuses what is meant for pixels in [0, 255]: images would be nearly black to the teacher."""
    if facts.mean is None or facts.std is None:
        return
    for called, most, values in (("mean", 1.0, facts.mean), ("standard deviation", MOST_STD, facts.std)):
        if max(values) > most:
            divided = (written(tuple(value / _MOST_OF_A_BYTE for value in one)) for one in (facts.mean, facts.std))
            raise UsageError(
                "The normalisation is for pixels in [0, 255].",
                where="--mean, --std",
                why=f"Pixels are in [0, 1] here, so that their {called} cannot be {max(values):g}.",
                remedy=f"Divided by 255 they are {' and '.join(divided)}: give these.",
            )


def _check(candidate: Candidate, facts: TeacherFacts) -> None:
    if None not in (facts.num_classes, candidate.num_classes) and facts.num_classes != candidate.num_classes:
        raise UsageError(
            f"The teacher has {candidate.num_classes} classes, not {facts.num_classes}.",
            where="--classes",
            why="Its last layer has one row per class.",
            remedy=f"Leave --classes out or give --classes {candidate.num_classes}.",
        )
    if facts.mean is not None and candidate.channels is not None and len(facts.mean) not in (1, candidate.channels):
        raise UsageError(
            f"The teacher takes {candidate.channels}-channel images, not {len(facts.mean)}.",
            where="--mean, --std",
            remedy=f"Give {candidate.channels} value{'s' if candidate.channels > 1 else ''} each.",
        )
    _check_normalisation(facts)
    differ = None not in (facts.answers, candidate.answers) and facts.answers != candidate.answers
    if differ and not candidate.answers_logits_instead:  # then either is true, before or after
        raise UsageError(
            f"The teacher answers {candidate.answers}, not {facts.answers}.",
            why="Its answers on random images and its last layer show it.",
            remedy="Leave this fact out.",
        )
    onnx_size = candidate.fixed_size if candidate.architecture == "onnx" else None
    if onnx_size is not None and facts.input_size not in (None, onnx_size):
        raise UsageError(
            f"The graph takes {_times(onnx_size)} images, not {_times(facts.input_size)}.",
            where="--size",
            remedy=f"Leave --size out or give --size {_times(onnx_size)}.",
        )


def _questions(
    candidate: Candidate, facts: TeacherFacts, *, size: tuple[int, int] | None, asks_normalisation: bool
) -> tuple[Question, ...]:
    if candidate.network is None:
        # The nearest one is no guess: it does not fit. Of what images it takes, nothing can be said before it is known.
        prompt = (
            "Which architecture is it? None that the app knows fits these weights: if it is another one, or one "
            "made for another image size, export the model as ONNX and open that."
        )
        nearest = "Nearest: " + "; ".join(fit.describe() for fit in candidate.nearest)
        return (Question("architecture", prompt, "", nearest, "--arch NAME"),)
    questions = []
    if size is None:
        guess = proposed_input_size(candidate.proposed) or guess_input_size(candidate.architecture, candidate.network)
        prompt = "How large are the images the teacher was trained on?"
        questions.append(Question("input_size", prompt, guess.text, guess.why, "--size HxW"))
    if asks_normalisation:
        channels = candidate.channels or 3
        guess = proposed_mean_std(candidate.proposed, channels) or guess_mean_std(
            candidate.architecture,
            channels,
            candidate.num_classes,
            candidate.stated.dataset,
            candidate.network,
            size,
        )
        prompt = "How were the training images normalised? The weights do not show it."
        questions.append(Question("mean_std", prompt, guess.text, guess.why, "--mean a,b,c --std a,b,c"))
    return tuple(questions)


def _times(size: tuple[int, int] | None) -> str:
    return "?" if size is None else f"{size[0]}x{size[1]}"
