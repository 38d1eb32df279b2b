"""The text forms of a plan, both ways: what is typed on the command line, and the line that repeats a plan."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import PurePath

from abd_app.errors import UsageError
from abd_app.plan import ALL_TO_ALL, AuditPlan, Target, TeacherFacts, TriggerSpec
from abd_app.text import distinct_file_names, visible

_TRIGGER_OPTIONS = ("position", "opacity", "scale", "mask")
_MISSPELT_OPTION = re.compile(r",([a-z]+)=(?!.*\.[a-z]+$)", re.IGNORECASE)
"""What no trigger has, unless it belongs to the name of a file."""
_NEXT_TRIGGER_OPTION = re.compile(rf",(?=(?:{'|'.join(_TRIGGER_OPTIONS)})=)")


def trigger_from_text(text: str) -> TriggerSpec:
    """Reads ``NAME`` or ``FILE`` with optional ``,position=...,opacity=...,scale=...,mask=...``.

    Raises:
        UsageError: An option is unknown, given twice or out of range.
    """
    name, *options = _NEXT_TRIGGER_OPTION.split(text.strip())
    if not name:
        raise UsageError("A trigger has no name.", where=f"--trigger {text}", remedy="Give a name or a picture first.")
    pairs = [(key, value) for key, _, value in (option.partition("=") for option in options)]
    values = dict(pairs)
    twice = next((key for key, times in Counter(key for key, _ in pairs).items() if times > 1), None)
    unknown = next((found[1] for part in (name, *values.values()) if (found := _MISSPELT_OPTION.search(part))), None)
    if twice or unknown:
        raise UsageError(
            f"The trigger option {twice or unknown!r} is {'given twice' if twice else 'unknown'}.",
            where=f"--trigger {text}",
            remedy=f"Use each of these at most once: {', '.join(_TRIGGER_OPTIONS)}.",
        )
    return TriggerSpec(
        name=name,
        position=values.get("position", TriggerSpec.position),
        opacity=_number(values["opacity"], f"--trigger {text}") if "opacity" in values else None,
        scale=_number(values["scale"], f"--trigger {text}") if "scale" in values else TriggerSpec.scale,
        mask=values.get("mask"),
    )


def trigger_keys(triggers: Sequence[TriggerSpec]) -> list[str]:
    """What each of a plan's triggers is called in all that is measured: its name, with its options if it has variants.

    These are the keys of ``asr`` in events, tables and reports.
    """
    times = Counter(trigger.name for trigger in triggers)
    return [trigger.name if times[trigger.name] == 1 else str(trigger) for trigger in triggers]


def trigger_label(key: str) -> str:
    """A trigger's key for people: of a picture, and of its mask, the file's name instead of the path."""
    return visible(_with_files(key, lambda path: PurePath(path).name or path))


def trigger_labels(keys: Iterable[str]) -> dict[str, str]:
    """The labels of several triggers by key; where two would have the same, with the folders that tell them apart."""
    labels = {key: trigger_label(key) for key in keys}
    times = Counter(labels.values())
    shared = [key for key, label in labels.items() if times[label] > 1]
    paths = list(dict.fromkeys(path for key in shared for path in _files(key)))
    names = dict(zip(paths, distinct_file_names(paths), strict=True))
    return labels | {key: visible(_with_files(key, names.__getitem__)) for key in shared}


def _files(key: str) -> list[str]:
    """A trigger's picture, or name, and its mask."""
    name, *options = _NEXT_TRIGGER_OPTION.split(key)
    return [name, *(option.removeprefix("mask=") for option in options if option.startswith("mask="))]


def _with_files(key: str, called: Callable[[str], str]) -> str:
    """A trigger's key with its files as they are called."""
    name, *options = _NEXT_TRIGGER_OPTION.split(key)
    shown = [f"mask={called(one.removeprefix('mask='))}" if one.startswith("mask=") else one for one in options]
    return ",".join([called(name), *shown])


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
        yield from ("--trigger", str(trigger))
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
