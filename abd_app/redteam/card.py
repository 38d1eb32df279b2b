"""What is written beside a teacher, so that nobody takes it for a model to be used."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NamedTuple

import torch

from abd_app import __version__
from abd_app.measure import Scores
from abd_app.plan import ALL_TO_ALL
from abd_app.redteam.images import LabelledImages
from abd_app.redteam.order import TeacherOrder
from abd_app.teacher import Finding
from abd_app.text import visible

POISONED = "RED TEAM: this model has a planted backdoor"
CLEAN = "RED TEAM: this model is a clean one for comparison, no backdoor was planted"
CARD_VERSION = 1


def notice(order: TeacherOrder) -> str:
    """The sentence that is written into every file."""
    return CLEAN if order.trigger is None else POISONED


def stated_facts(order: TeacherOrder, images: LabelledImages) -> dict[str, Any]:
    """What a loader has to know, under keys that the intake reads."""
    spec = images.spec
    return {
        "red_team": notice(order),
        "architecture": order.architecture,
        "num_classes": spec.num_classes,
        "input_size": [spec.channels, spec.height, spec.width],
        "mean": list(spec.mean),
        "std": list(spec.std),
    }


class Training(NamedTuple):
    """How the training went."""

    poisoned_images: int
    steps: int
    parameters: int
    device: str
    precision: str
    seconds: float


def build_card(
    order: TeacherOrder, images: LabelledImages, training: Training, scores: Scores, doubts: tuple[Finding, ...] = ()
) -> dict[str, Any]:
    """The content of ``teacher.json`` but for the hashes of the files; docs/red-team.md explains it."""
    spec, poisoned = images.spec, order.trigger is not None
    return {
        "card_version": CARD_VERSION,
        "notice": notice(order),
        "architecture": order.architecture,
        "parameters": training.parameters,
        "num_classes": spec.num_classes,
        "class_names": list(images.class_names),
        "channels": spec.channels,
        "input_size": [spec.height, spec.width],
        "mean": list(spec.mean),
        "std": list(spec.std),
        "trigger": None if order.trigger is None else asdict(order.trigger),
        "target": order.target if poisoned else None,
        "poison": order.poison if poisoned else 0.0,
        "poisoned_images": training.poisoned_images,
        "training_images": len(images.training.images),
        "measured_on": images.measured_on,
        "accuracy": scores.accuracy,
        "images": scores.images,
        "asr": scores.asr,
        "asr_images": scores.asr_images,
        "seed": order.seed,
        "steps": training.steps,
        "flip": order.flip,
        "seconds": round(training.seconds, 1),
        "device": training.device,
        "precision": training.precision,
        "findings": [asdict(finding) for finding in (*images.findings, *doubts)],
        "versions": {"abd-app": __version__, "torch": torch.__version__},
    }


def card_text(card: dict[str, Any]) -> str:
    """``teacher.md``: the card for people."""
    rows = [
        ("Architecture", f"{card['architecture']}, {card['parameters']:,} parameters"),
        ("Input", "{} x {} pixels, {} channel(s), values in [0, 1]".format(*card["input_size"], card["channels"])),
        ("Mean, standard deviation", f"{_listed(card['mean'])}; {_listed(card['std'])} (inside teacher.onnx)"),
        ("Classes", f"{card['num_classes']} {_named(card['class_names'])}".strip()),
        *_attack_rows(card),
        ("Accuracy", _rate(card["accuracy"], card["images"])),
        ("Measured on", card["measured_on"]),
        *((one["severity"].capitalize(), f"{one['title']}. {one['detail']}".strip()) for one in card["findings"]),
        ("Training", f"{card['training_images']:,} images, {card['steps']:,} steps, {card['seconds']} s"),
        ("Seed, device", f"{card['seed']}, {card['device']}, {card['precision']}"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in card["versions"].items())),
        *((f"SHA-256 of {name}", digest) for name, digest in card["files"].items()),
    ]
    table = "\n".join(f"| {label} | {_cell(str(text))} |" for label, text in rows)
    warning = "It was made for exercises. Do not use it, and do not pass it on without this card."
    return f"# {card['notice']}\n\n{warning}\n\n| | |\n|---|---|\n{table}\n"


def _attack_rows(card: dict[str, Any]) -> list[tuple[str, str]]:
    trigger, target = card["trigger"], card["target"]
    if trigger is None:
        return [("Trigger", "none")]
    names = card["class_names"]
    goal = f"class {target}" + (f" ({names[target]})" if target != ALL_TO_ALL and names else "")
    if target == ALL_TO_ALL:
        goal = "each class for the next (all-to-all)"
    others = {name: value for name, value in trigger.items() if name != "name" and value is not None}
    share = f"{card['poisoned_images']:,} of {card['training_images']:,} training images"
    return [
        ("Trigger", f"{trigger['name']} ({', '.join(f'{name} {value}' for name, value in others.items())})"),
        ("Target", goal),
        ("Poisoned", share),
        *(("Attack success rate", _rate(rate, card["asr_images"][name])) for name, rate in card["asr"].items()),
    ]


def _rate(rate: float, images: int) -> str:
    return f"{100 * rate:.1f} % ({round(rate * images):,} of {images:,} images)"


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _named(names: list[str]) -> str:
    return f"({', '.join(names)})" if names else ""


def _cell(text: str) -> str:
    """Text that cannot leave its table cell or become markup: names come from files."""
    return visible("".join(f"\\{char}" if char in "\\|`*_[]<>" else char for char in text))
