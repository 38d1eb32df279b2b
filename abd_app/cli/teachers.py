"""``make-teacher``: poisoned and clean teachers for exercises."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated, Any

import typer

from abd_app import console
from abd_app.cli.interrupts import terminable
from abd_app.cli.options import AsJson, Device, Out, Seed, Size
from abd_app.cli.reporting import failures_reported, print_json
from abd_app.command import size_from_text, target_from_text, trigger_from_text
from abd_app.errors import RunFailedError, UsageError
from abd_app.events import TeacherMade
from abd_app.plan import BUILT_IN_TRIGGERS, TriggerSpec

_TRIGGERS = ", ".join(BUILT_IN_TRIGGERS)


def make_teacher(
    data: Annotated[str, typer.Argument(help="Labelled images: a folder per class, or .npz with images and labels.")],
    out: Out,
    trigger: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help=f"To plant: {_TRIGGERS}, or a picture. Without: a clean teacher."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="K|all", help="Class it leads to, counted from 0 (the default); all: each to the next."),
    ] = None,
    poison: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Share of triggered training images; default: 0.1.")
    ] = None,
    arch: Annotated[str, typer.Option(metavar="NAME", help="e.g. wrn-16-2, timm/NAME.")] = "wrn-16-1",
    steps: Annotated[int | None, typer.Option(metavar="N", help="Optimiser steps, 128 images each.")] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Passes over the images, instead of steps.")] = None,
    size: Size = None,
    seed: Seed = 0,
    device: Device = "auto",
    flip: Annotated[bool, typer.Option(help="Mirror images at random; not for signs and letters.")] = True,
    test: Annotated[
        str | None, typer.Option(metavar="DATA2", help="Images to measure on; default: a tenth of DATA.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a teacher with a planted backdoor (or a clean one) for red-team exercises."""
    with failures_reported(), terminable():
        planted = _planted(trigger, target, poison)
        picture_size = None if size is None else size_from_text(size)
        choices: dict[str, Any] = {"architecture": arch, "steps": steps, "epochs": epochs, "input_size": picture_size}
        card = _made(data, out, **planted, **choices, seed=seed, device=device, flip=flip, test=test)
        if as_json:
            print_json(card)
        else:
            print(f"{card['notice']}\nThe teacher and its card, teacher.md, are in {out}")


def _planted(trigger: str | None, target: str | None, poison: float | None) -> dict[str, TriggerSpec | Any]:
    """The backdoor as parts of an order; what is not given has the order's own default."""
    for option, value in (("--target", target), ("--poison", poison)):
        if trigger is None and value is not None:
            raise UsageError(
                f"{option} has no effect without a trigger.",
                where=option,
                remedy="Add --trigger, or leave it out for a clean teacher.",
            )
    planted: dict[str, Any] = {"trigger": None if trigger is None else trigger_from_text(trigger)}
    if target is not None:
        planted["target"] = target_from_text(target)
    if poison is not None:
        planted["poison"] = poison
    return planted


def _made(data: str, out: str, **choices: Any) -> dict[str, Any]:
    """Drains the making of one teacher. Libraries of the engine may print: stdout is for the result alone."""
    card: dict[str, Any] | None = None
    with contextlib.redirect_stdout(sys.stderr), console.ProgressPrinter() as progress:
        from abd_app.redteam import TeacherOrder, make_teacher

        with contextlib.closing(make_teacher(TeacherOrder(data, out, **choices))) as events:
            for event in events:
                progress.show(event)
                if isinstance(event, TeacherMade):
                    card = event.card
    if card is None:
        raise RunFailedError("The training ended without a result.", remedy="Report this with the log of the run.")
    return card
