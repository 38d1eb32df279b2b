"""The options of the commands, each defined once."""

from __future__ import annotations

from typing import Annotated, cast

import typer

from abd_app.command import size_from_text, values_from_text
from abd_app.errors import UsageError
from abd_app.plan import BUILT_IN_TRIGGERS, DEFENSES, DEVICES, EFFORTS, METHODS, PRECISIONS, STUDENTS, TeacherFacts
from abd_app.teacher import Answers

_FACTS = "Only what the file does not say"

AsJson = Annotated[bool, typer.Option("--json", help="The result as one JSON object on stdout.")]


def _named(folder: str) -> str:
    """An empty name, of a shell variable that is not set, would be the folder one stands in."""
    if not folder.strip():
        raise typer.BadParameter("The output folder has no name: give one, e.g. --out result.")
    return folder


def _named_file(file: str) -> str:
    if not file.strip():
        raise typer.BadParameter("The name of the teacher is empty: give a file, e.g. teacher.onnx.")
    return file


def _named_files(files: list[str]) -> list[str]:
    return list(map(_named_file, files))


File = Annotated[str, typer.Argument(callback=_named_file, help="The teacher: .pt, .pth, .safetensors or .onnx.")]
Out = Annotated[
    str, typer.Option(metavar="DIR", callback=_named, help="Folder for the results; empty or not there yet.")
]
Method = Annotated[
    str, typer.Option(metavar="|".join(METHODS), help="Source of the images; cmi and fast need BatchNorm.")
]
Defense = Annotated[str, typer.Option(metavar="|".join(DEFENSES), help="Shuffling vaccine, self-retrospection, both.")]
Student = Annotated[str, typer.Option(metavar="NAME", help=f"One of: {', '.join(STUDENTS)}.")]
Effort = Annotated[
    str,
    typer.Option(
        metavar="|".join(EFFORTS),
        help="Budget, if neither steps nor minutes are given; auto: standard for small images on a GPU.",
    ),
]
Steps = Annotated[int | None, typer.Option(metavar="N", help="Optimiser steps of the student.")]
Minutes = Annotated[float | None, typer.Option(metavar="M", help="Wall time of the student, instead of steps.")]
Device = Annotated[str, typer.Option(metavar="|".join(DEVICES), help="Where to compute.")]
Seed = Annotated[int, typer.Option(metavar="S", help="The same seed on the same CPU gives the same numbers.")]
Precision = Annotated[str, typer.Option(metavar="|".join(PRECISIONS), help="Arithmetic of the networks.")]
Arch = Annotated[str | None, typer.Option(metavar="NAME", help="e.g. wrn-16-2, timm/NAME.", rich_help_panel=_FACTS)]
Classes = Annotated[int | None, typer.Option(metavar="K", help="Number of classes.", rich_help_panel=_FACTS)]
Size = Annotated[str | None, typer.Option(metavar="HxW", help="Input size in pixels.", rich_help_panel=_FACTS)]
Mean = Annotated[str | None, typer.Option(metavar="a,b,c", help="Of pixels in [0, 1].", rich_help_panel=_FACTS)]
Std = Annotated[str | None, typer.Option(metavar="a,b,c", help="Of pixels in [0, 1].", rich_help_panel=_FACTS)]
Output = Annotated[
    str | None,
    typer.Option("--answers", metavar="logits|probabilities", help="What it answers.", rich_help_panel=_FACTS),
]
Data = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="Labelled images: a folder per class, or .npz with images and labels."),
]
Triggers = Annotated[
    list[str] | None,
    typer.Option(
        "--trigger",
        metavar="NAME|FILE",
        help=f"To measure, repeatable: {', '.join(BUILT_IN_TRIGGERS)}, or a picture; "
        "fine-tuned e.g. by NAME,opacity=0.2; also position=, scale= and mask=FILE.",
    ),
]
Target = Annotated[
    str, typer.Option(metavar="K|all", help="The attacker's class, counted from 0; all: each class for the next.")
]
Compare = Annotated[bool, typer.Option("--compare", help="Also train an undefended twin with the same budget.")]
Picture = Annotated[
    str | None, typer.Option(metavar="PATH", help="The picture that ood and fast cut their patches from.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in DIR.")]
Files = Annotated[
    list[str],
    typer.Argument(metavar="FILES...", callback=_named_files, help="Teachers: .pt, .pth, .safetensors or .onnx."),
]
BatchOut = Annotated[
    str,
    typer.Option(
        "--out", metavar="DIR", callback=_named, help="Folder for all results; empty or not there yet, or --resume."
    ),
]
Seeds = Annotated[str, typer.Option(metavar="0,1,2", help="Every file is audited once with each.")]
Jobs = Annotated[
    int | None, typer.Option(metavar="N", help="Audits at a time; default: one per CUDA device, or 1 on a CPU.")
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="Run on the Ray cluster at HOST:PORT; auto: one this machine is part of; local: here."
    ),
]
BatchResume = Annotated[
    bool, typer.Option("--resume", help="Continue the batch in DIR: what is finished stays, the rest is run.")
]


def stated_facts(
    arch: str | None, classes: int | None, size: str | None, mean: str | None, std: str | None, answers: str | None
) -> TeacherFacts:
    """What the options say about a teacher.

    Raises:
        UsageError: One of them is not of its form or out of range.
    """
    if answers not in (None, "logits", "probabilities"):
        raise UsageError(f"Unknown kind of answers {answers!r}.", where="--answers", remedy="logits or probabilities.")
    return TeacherFacts(
        architecture=arch,
        num_classes=classes,
        input_size=None if size is None else size_from_text(size),
        mean=None if mean is None else values_from_text(mean, where="--mean"),
        std=None if std is None else values_from_text(std, where="--std"),
        answers=cast("Answers | None", answers),
    )
