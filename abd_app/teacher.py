"""The one shape in which a loaded model travels through the app.

Importing this module does not import torch: the window reads :class:`TeacherCard` too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import nn

Severity = Literal["info", "warning", "danger"]
Answers = Literal["logits", "probabilities"]

ONNX_BYTES = 2_000_000_000
"""Of float32 weights: a file of protocol buffers, as ONNX is, holds 2 GiB."""


@dataclass(frozen=True)
class Finding:
    """Something a reviewer should know, as data; only views and the command line print it."""

    severity: Severity
    title: str
    detail: str = ""


@dataclass(frozen=True)
class Question:
    """A fact the file does not state, and without which no run can start.

    Attributes:
        fact: ``architecture``, ``input_size`` or ``mean_std``.
        prompt: What to ask the user.
        guess: The proposed answer in the syntax of the command-line option; empty if there is none.
        why: Where the guess comes from; without one, what is known instead.
        option: The command-line option(s) that answer it, e.g. ``--size HxW``.
    """

    fact: str
    prompt: str
    guess: str
    why: str
    option: str


@dataclass(frozen=True)
class ImageSpec:
    """The images a model expects, before normalisation always RGB or grey in [0, 1].

    Attributes:
        height: Pixels.
        width: Pixels.
        channels: 1 or 3.
        mean: Per channel, subtracted from [0, 1] pixels; all 0 when the model normalises inside.
        std: Per channel divisor; all 1 when the model normalises inside.
        num_classes: At least 2.
    """

    height: int
    width: int
    channels: int
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class DataFile:
    """A file beside a teacher file that holds weights of it (ONNX external data), as it was read.

    Attributes:
        doubt: Why it may not belong to the teacher; empty if nothing says so.
    """

    name: str
    sha256: str
    size_bytes: int
    doubt: str = ""


@dataclass(frozen=True)
class TeacherCard:
    """Everything known about a teacher file, without the weights.

    ``None`` marks a fact that neither the file nor the user has stated.

    Attributes:
        sha256: Of the file, hexadecimal; those of its data files are in ``data_files``.
        size_bytes: Of the file and its data files.
        batchnorm_folded: Whether an export seems to have worked part of the BatchNorm layers into others.
    """

    file: str
    sha256: str
    size_bytes: int
    format: str
    architecture: str | None
    num_classes: int | None
    channels: int | None
    input_size: tuple[int, int] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    answers: Answers | None
    parameters: int
    batchnorm_layers: int
    class_names: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    questions: tuple[Question, ...] = ()
    data_files: tuple[DataFile, ...] = ()
    batchnorm_folded: bool = False

    @property
    def content(self) -> str:
        """What all of the teacher's files hold: their SHA-256, separated by spaces."""
        return " ".join((self.sha256, *(file.sha256 for file in self.data_files)))


@dataclass(frozen=True)
class Teacher:
    """A loaded third-party classifier, ready to answer.

    Attributes:
        network: ``(N, C, H, W)`` float images in [0, 1] -> ``(N, num_classes)`` logits. It normalises inside, is in
            eval mode on the CPU, and none of its parameters requires a gradient.
        spec: The images it expects.
        card: The facts behind it.
    """

    network: nn.Module
    spec: ImageSpec
    card: TeacherCard
    block_names: tuple[str, ...] = field(default=())
    """Modules whose outputs are the stage activations (attention transfer); empty if unknown."""
