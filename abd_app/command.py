"""The text forms of a plan, both ways: what is typed on the command line, and the line that repeats a plan."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields

from abd_app.errors import UsageError
from abd_app.plan import ALL_TO_ALL, AuditPlan, Target, TeacherFacts, TriggerSpec

_TRIGGER_OPTIONS = ("position", "opacity", "scale", "mask")
_NEXT_OPTION = re.compile(r",(?=[a-z]+=)")


def trigger_from_text(text: str) -> TriggerSpec:
    """Reads ``NAME`` or ``FILE`` with optional ``,position=...,opacity=...,scale=...,mask=...``.

    Raises:
        UsageError: An option is unknown, given twice or out of range.
    """
    name, *options = _NEXT_OPTION.split(text.strip())
    if not name:
        raise UsageError("A trigger has no name.", where=f"--trigger {text}", remedy="Give a name or a picture first.")
    values: dict[str, str] = {}
    for option in options:
        key, _, value = option.partition("=")
        if key not in _TRIGGER_OPTIONS or key in values:
            raise UsageError(
                f"The trigger option {key!r} is {'given twice' if key in values else 'unknown'}.",
                where=f"--trigger {text}",
                remedy=f"Use each of these at most once: {', '.join(_TRIGGER_OPTIONS)}.",
            )
        values[key] = value
    return TriggerSpec(
        name=name,
        position=values.get("position", TriggerSpec.position),
        opacity=_number(values["opacity"], f"--trigger {text}") if "opacity" in values else None,
        scale=_number(values["scale"], f"--trigger {text}") if "scale" in values else TriggerSpec.scale,
        mask=values.get("mask"),
    )


def trigger_to_text(trigger: TriggerSpec) -> str:
    """Writes what :func:`trigger_from_text` reads; values at their default are left out."""
    options = [(key, getattr(trigger, key)) for key in _TRIGGER_OPTIONS]
    return trigger.name + "".join(f",{key}={value}" for key, value in options if value != getattr(TriggerSpec, key))


def target_from_text(text: str) -> Target:
    """Reads a class index, or ``all`` for all-to-all.

    Raises:
        UsageError: The text is neither.
    """
    text = text.strip()
    if text == ALL_TO_ALL:
        return ALL_TO_ALL
    if not text.isascii() or not text.isdigit():
        remedy = f"Give a class counted from 0, or {ALL_TO_ALL}: each class is to be taken for the next."
        raise UsageError(f"{text!r} is not a class.", where="--target", remedy=remedy)
    return int(text)


def size_from_text(text: str, *, where: str = "--size") -> tuple[int, int]:
    """Reads ``HxW`` (or one number for a square) as (height, width) in pixels.

    Raises:
        UsageError: The text is not a size.
    """
    match = re.fullmatch(r"\s*(\d{1,5})\s*(?:[x×]\s*(\d{1,5})\s*)?", text.lower())
    if match is None:
        raise UsageError(f"{text!r} is not a size.", where=where, remedy="Give height x width in pixels, e.g. 32x32.")
    return int(match[1]), int(match[2] or match[1])


def values_from_text(text: str, *, where: str) -> tuple[float, ...]:
    """Reads ``a,b,c``, one value per channel.

    Raises:
        UsageError: One of them is not a number.
    """
    return tuple(_number(part, where) for part in text.split(","))


def plan_to_command(plan: AuditPlan) -> str:
    """The ``abd-app distill`` line that repeats this plan, quoted for a POSIX shell; defaults are left out."""
    return shlex.join(["abd-app", "distill", _path(plan.teacher_file), *_options(plan)])


def _options(plan: AuditPlan) -> Iterator[str]:
    yield from ("--out", _path(plan.out))
    yield from _fact_options(plan.facts)
    plain = {
        "method": "--method",
        "defense": "--defense",
        "student": "--student",
        "effort": "--effort",
        "steps": "--steps",
        "minutes": "--minutes",
        "device": "--device",
        "seed": "--seed",
        "precision": "--precision",
        "data": "--data",
        "target_class": "--target",
        "picture": "--picture",
    }
    defaults = {field.name: field.default for field in fields(plan)}
    for name, option in plain.items():
        value = getattr(plan, name)
        if value != defaults[name]:
            yield from (option, str(value))
    for trigger in plan.triggers:
        yield from ("--trigger", trigger_to_text(trigger))
    if plan.compare:
        yield "--compare"
    if plan.resume:
        yield "--resume"


def _fact_options(facts: TeacherFacts) -> Iterator[str]:
    if facts.architecture is not None:
        yield from ("--arch", facts.architecture)
    if facts.num_classes is not None:
        yield from ("--classes", str(facts.num_classes))
    if facts.input_size is not None:
        yield from ("--size", "{}x{}".format(*facts.input_size))
    if facts.mean is not None and facts.std is not None:
        yield from ("--mean", ",".join(map(str, facts.mean)))
        yield from ("--std", ",".join(map(str, facts.std)))
    if facts.answers is not None:
        yield from ("--answers", facts.answers)


def _path(path: str) -> str:
    """A path that the command line cannot take for an option."""
    return f"./{path}" if path.startswith("-") else path


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{text.strip()!r} is not a number.", where=where, remedy="Give e.g. 0.5.") from None
