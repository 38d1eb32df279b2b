"""Numbers, names and durations as people read them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from pathlib import PurePath

from PySide6.QtCore import QCoreApplication

from abd_app.command import trigger_labels
from abd_app.text import percent, visible

_OPTION = re.compile(r"(?<![^\s(])--[a-z]+(?![\w/\\-]|\.\w)")
"""A word of its own: no part of a path."""


def rates_text(rates: dict[str, float]) -> str:
    """``accuracy 67.3 %, ASR sig 2.0 %``; rates in [0, 1] by trigger, "" for accuracy."""
    tr = QCoreApplication.translate
    labels = trigger_labels(filter(None, rates))
    names = {trigger: f"ASR {labels[trigger]}" if trigger else tr("wording", "accuracy") for trigger in rates}
    return ", ".join(f"{names[trigger]} {percent(rate)}" for trigger, rate in rates.items())


def count(number: int) -> str:
    """``12,000``."""
    return f"{number:,}"


def byte_size(size_bytes: int) -> str:
    """A size in bytes as ``1.4 GiB``."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit != "MiB" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def duration(seconds: float) -> str:
    """A time span, rounded to what matters: ``40 s``, ``3 min``, ``2 h 10 min``."""
    if seconds < 90:
        return QCoreApplication.translate("wording", "{n} s").format(n=max(1, round(seconds)))
    minutes = round(seconds / 60)
    if minutes < 90:
        return QCoreApplication.translate("wording", "{n} min").format(n=minutes)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return QCoreApplication.translate("wording", "{n} days").format(n=round(hours / 24))
    return QCoreApplication.translate("wording", "{h} h {m} min").format(h=hours, m=minutes)


def file_name(path: str) -> str:
    """The last part of a path, safe to show."""
    return visible(PurePath(path).name or path)


def shortened(text: str, most_chars: int) -> str:
    """A text of so many characters at most; of a longer one the middle is left out."""
    if len(text) <= most_chars:
        return text
    end = most_chars // 2
    return f"{text[: most_chars - 1 - end]}…{text[-end:]}"


def tooltip(text: str) -> str:
    """A plain text as a tooltip: markup in it is shown, not obeyed."""
    return f"<p style='white-space:pre-wrap'>{html.escape(text)}</p>" if text else ""


def phase_name(phase: str) -> str:
    """The translated name of a phase of :data:`abd_app.events.Phase`."""
    names = {
        "intake": QCoreApplication.translate("wording", "Opening the teacher"),
        "preparing": QCoreApplication.translate("wording", "Preparing"),
        "first images": QCoreApplication.translate("wording", "Labelling the first images"),
        "warm-up": QCoreApplication.translate("wording", "Warm-up"),
        "vaccine check": QCoreApplication.translate("wording", "Vaccine check"),
        "distilling": QCoreApplication.translate("wording", "Distilling"),
        "self-retrospection": QCoreApplication.translate("wording", "Self-retrospection"),
        "measuring": QCoreApplication.translate("wording", "Measuring"),
        "export": QCoreApplication.translate("wording", "Exporting"),
        "training": QCoreApplication.translate("wording", "Training"),
    }
    return names.get(phase, phase)


def place_in_window(where: str) -> str:
    """Where a choice is made in the window, if ``where`` names the option that makes it in a terminal."""
    places = _places()
    parts: list[str] = []
    for part in where.split(", "):
        option, _, value = part.partition(" ")
        told = ": ".join(filter(None, (places[option], value))) if option in places else part
        if option not in places or told not in parts:
            parts.append(told)
    return ", ".join(parts)


def with_places(text: str) -> str:
    """A sentence of the app with the places of the window instead of the options that it names."""
    places = _places()
    return _OPTION.sub(lambda found: f"“{places[found[0]]}”" if found[0] in places else found[0], text)


def _places() -> dict[str, str]:
    tr = QCoreApplication.translate
    effort, std = tr("wording", "Plan, effort"), tr("wording", "Teacher, mean and std")
    return {
        "--arch": tr("wording", "Teacher, architecture"),
        "--classes": tr("wording", "Teacher, classes"),
        "--size": tr("wording", "Teacher, image size"),
        "--mean": std,
        "--std": std,
        "--answers": tr("wording", "Teacher, answers"),
        "--data": tr("wording", "Evaluation, labelled images"),
        "--trigger": tr("wording", "Evaluation, triggers to measure"),
        "--target": tr("wording", "Evaluation, class the attacker wants"),
        "--method": tr("wording", "Plan, images from"),
        "--student": tr("wording", "Plan, student"),
        "--effort": effort,
        "--steps": effort,
        "--minutes": effort,
        "--device": tr("wording", "Plan, device"),
        "--compare": tr("wording", "Plan, undefended twin"),
        "--defense": tr("wording", "Plan, Advanced, defence"),
        "--seed": tr("wording", "Plan, Advanced, seed"),
        "--precision": tr("wording", "Plan, Advanced, number format"),
        "--picture": tr("wording", "Plan, Advanced, picture for patches"),
        "--out": tr("wording", "Plan, Advanced, output folder"),
        "--resume": tr("wording", "History, Continue"),
    }


def trigger_name(key: str) -> str:
    """A trigger as people know it; a built-in one with the name that curves and report call it by."""
    return trigger_names([key])[key]


def trigger_names(keys: Iterable[str]) -> dict[str, str]:
    """The names of several triggers by key, told apart as their labels are."""
    tr = QCoreApplication.translate
    names = {
        "badnets-grid": tr("wording", "BadNets grid"),
        "badnets-square": tr("wording", "White square"),
        "trojan-3x3": tr("wording", "Small coloured patch"),
        "trojan-8x8": tr("wording", "Large coloured patch"),
        "clean-label": tr("wording", "Four corners"),
        "l0-invisible": tr("wording", "Five pixels"),
        "sticker": tr("wording", "Demo sticker"),
        "natural-patch": tr("wording", "Flower"),
        "trojan-wm": tr("wording", "Watermark"),
        "blend": tr("wording", "Blended noise"),
        "sig": tr("wording", "Stripes"),
        "l2-invisible": tr("wording", "Faint waves"),
        "warp": tr("wording", "Warp"),
    }
    found = {}
    for key, label in trigger_labels(keys).items():
        known = names.get(key.partition(",")[0])
        found[key] = f"{known} ({label})" if known else label
    return found


def caution_words(caution: str) -> str:
    """What a result asks for, in the words of its sentence: "" where it asks for nothing."""
    words = {
        "danger": QCoreApplication.translate("wording", "do not use it yet"),
        "warning": QCoreApplication.translate("wording", "look before use"),
    }
    return words.get(caution, "")


def role_name(role: str) -> str:
    """The translated name of a role of :data:`abd_app.events.Role`."""
    names = {
        "teacher": QCoreApplication.translate("wording", "Teacher"),
        "student": QCoreApplication.translate("wording", "Student"),
        "twin": QCoreApplication.translate("wording", "Undefended twin"),
    }
    return names.get(role, role)
