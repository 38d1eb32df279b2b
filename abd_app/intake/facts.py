"""What the file states and what the user says, brought together; what is left becomes questions."""

from __future__ import annotations

from dataclasses import dataclass

from abd_app.errors import UsageError
from abd_app.intake.candidate import Candidate
from abd_app.intake.guesses import guess_input_size, guess_mean_std, written
from abd_app.intake.onnx_batch import OneByOne
from abd_app.plan import TeacherFacts
from abd_app.teacher import Answers, Finding, Question

_MOST_OF_A_BYTE = 255


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
    findings = list(candidate.findings)
    if facts.mean is None and mean is not None and candidate.architecture != "onnx":
        findings.append(Finding("info", "Normalisation stated", f"By {candidate.stated.source}."))
    identity = (facts.mean, facts.std) == ((0.0,) * channels, (1.0,) * channels)
    if candidate.architecture == "onnx" and facts.mean and candidate.stated.mean is not None and not identity:
        detail = "The graph already normalises its input; --mean and --std come on top of that."
        findings.append(Finding("warning", "Normalised twice", detail))
    if candidate.architecture != "onnx" and facts.mean is not None and candidate.stated.mean not in (None, mean):
        said = f"{written(candidate.stated.mean or ())} / {written(candidate.stated.std or ())}"
        detail = f"For {candidate.stated.source} they are {said}; what you gave is used."
        findings.append(Finding("warning", "Normalised otherwise than the file says", detail))
    closed = isinstance(candidate.network, OneByOne)  # has a finding of its own
    if candidate.network is not None and not candidate.batchnorm_layers and not closed:
        detail = "The image sources `cmi` and `fast` match BatchNorm statistics and are not available for this teacher."
        findings.append(Finding("info", "No BatchNorm layers", detail))
    size = facts.input_size or candidate.stated.input_size or candidate.fixed_size
    if candidate.fixed_size not in (None, size):
        detail = f"{_times(size)} images are resized to {_times(candidate.fixed_size)}, which its architecture demands."
        findings.append(Finding("info", "Images are resized", detail))
    return SettledFacts(
        num_classes=candidate.num_classes or facts.num_classes or candidate.stated.num_classes,
        input_size=size,
        mean=mean,
        std=std,
        answers=facts.answers or candidate.answers,
        findings=tuple(findings),
        questions=_questions(candidate, facts, size=size, asks_normalisation=mean is None),
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
    if facts.mean is not None and facts.std is not None and max(facts.mean) > 1:
        mean, std = (written(tuple(value / _MOST_OF_A_BYTE for value in values)) for values in (facts.mean, facts.std))
        raise UsageError(
            "The normalisation is for pixels in [0, 255].",
            where="--mean, --std",
            why=f"Pixels are in [0, 1] here, so that none can have the mean {max(facts.mean):g}.",
            remedy=f"Give --mean {mean} --std {std}.",
        )
    if None not in (facts.answers, candidate.answers) and facts.answers != candidate.answers:
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
    questions = []
    if candidate.network is None:
        best = candidate.nearest[0]
        questions.append(
            Question(
                "architecture",
                "Which architecture is it? None fits these weights exactly.",
                best.architecture,
                "Nearest: " + "; ".join(fit.describe() for fit in candidate.nearest),
                "--arch NAME",
                required=True,
            )
        )
    likely = candidate.architecture or candidate.nearest[0].architecture
    if size is None:
        guess = guess_input_size(likely, candidate.network)
        prompt = "How large are the images the teacher was trained on?"
        questions.append(Question("input_size", prompt, guess.text, guess.why, "--size HxW", required=True))
    if asks_normalisation:
        channels = candidate.channels or 3
        guess = guess_mean_std(
            likely, channels, candidate.num_classes, candidate.stated.dataset, candidate.network, size
        )
        prompt = "How were the training images normalised? The weights do not show it."
        questions.append(Question("mean_std", prompt, guess.text, guess.why, "--mean a,b,c --std a,b,c", required=True))
    return tuple(questions)


def _times(size: tuple[int, int] | None) -> str:
    return "?" if size is None else f"{size[0]}x{size[1]}"
