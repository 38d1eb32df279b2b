"""``report.json`` for scripts and ``report.html`` for people, from one dictionary."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

from abd_app import text
from abd_app.assets import asset
from abd_app.command import trigger_labels
from abd_app.errors import RunFailedError
from abd_app.export.files import write_text
from abd_app.export.interface import interface
from abd_app.export.schema import Report
from abd_app.export.shareable import without_folders
from abd_app.text import percent

_NOT_MEASURED = "not measured"
_MOST_CLASSES = 20
"""Rows of the report's table of classes."""


def write_report(report: Report, folder: Path) -> None:
    """Writes ``report.json`` and a self-contained, printable ``report.html``; shows ``curves.svg`` if it is there.

    Raises:
        RunFailedError: The disk is full, the folder cannot be written, or Jinja2 is missing.
    """
    values = plain(report)
    curves = folder / "curves.svg"
    write_text(folder / "report.html", render_html(values, curves_svg=curves.read_bytes() if curves.is_file() else b""))
    # The last file of a run: where it is, the run is finished.
    write_text(folder / "report.json", json.dumps(values, indent=2, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """JSON-ready values: tuples as lists, numbers that are not finite as ``None``."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if hasattr(value, "item"):  # NumPy and torch scalars
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def render_html(values: dict[str, Any], *, curves_svg: bytes = b"") -> str:
    """The report page of plain ``values``; every text in it is escaped, and files are named without their folders."""
    shown = visible(values)
    return render_page(
        "report.html.j2",
        report=shown,
        takes=_interface(values["teacher"]),
        teacher_file=visible(Path(values["teacher"]["file"]).name),
        plan_json=json.dumps(visible(without_folders(values["plan"])), indent=2, ensure_ascii=False),
        triggers=_triggers(values),
        classes=_classes(shown),
        most_classes=_MOST_CLASSES,
        curves=base64.b64encode(curves_svg).decode(),
    )


def _interface(teacher: dict[str, Any]) -> dict[str, str]:
    height, width = teacher["input_size"]
    return interface(len(teacher["mean"]), height, width, teacher["num_classes"])


def render_page(template: str, **values: Any) -> str:
    """A page from a template in ``resources/report``; every text in it is escaped.

    Raises:
        RunFailedError: Jinja2 is missing.
    """
    try:
        import jinja2
    except ImportError as error:
        raise RunFailedError(
            "The report cannot be written: the package jinja2 is missing.", remedy="Install Jinja2."
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(asset("report")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "hits": _hits, "number": _number, "duration": _duration}
    return environment.get_template(template).render(values)


def _triggers(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Every trigger that any model was measured with, in order: as the visible report spells it, and its label."""
    models = [model for model in (values["teacher"], values["student"], values["twin"]) if model]
    labels = trigger_labels(dict.fromkeys(name for model in models for name in model["asr"]))
    return [(visible(name), label) for name, label in labels.items()]


def _classes(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The classes with images, those first in which the student is furthest behind the teacher."""
    models = [values["teacher"], values["student"], *([values["twin"]] if values["twin"] else [])]
    teacher, student = (model["accuracy_by_class"] for model in models[:2])
    names = dict(enumerate(values["teacher"]["class_names"]))
    classes = sorted(student, key=lambda index: student[index] - teacher.get(index, 0.0))
    return [
        {
            "index": index,
            "name": names.get(int(index), ""),
            "images": values["student"]["images_by_class"][index],
            "rates": [model["accuracy_by_class"].get(index) for model in models],
        }
        for index in classes
    ]


def visible(value: Any) -> Any:
    """The same values with every text as :func:`abd_app.text.visible` shows it."""
    if isinstance(value, dict):
        return {visible(key): visible(item) for key, item in value.items()}
    if isinstance(value, list):
        return [visible(item) for item in value]
    return text.visible(value) if isinstance(value, str) else value


def _percent(rate: float | None) -> str:
    return _NOT_MEASURED if rate is None else percent(rate)


def _hits(rate: float | None, images: int | None) -> str:
    """The figure behind a rate, e.g. ``897 of 1,000 images``."""
    return "" if rate is None or not images else f"{round(rate * images):,} of {images:,} images"


def _number(value: float | None) -> str:
    if value is None:
        return _NOT_MEASURED
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return _NOT_MEASURED
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
