"""The measurements of a run as CSV (``metrics.csv``), both ways."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import get_args

from abd_app.events import Measured, Role

_PLAIN = ("step", "role", "accuracy", "images", "estimated")
_ASR, _ASR_IMAGES = "asr:", "asr_images:"


def metrics_to_csv(measurements: Sequence[Measured]) -> str:
    """A row for each measurement: step, role, accuracy, images, estimated; for each trigger its ASR and the images.

    Rates are in [0, 1]; a cell is empty where a rate is not a number, or a trigger was not measured.
    """
    triggers = list(dict.fromkeys(name for one in measurements for name in one.asr))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    per_trigger = [column for name in triggers for column in (_ASR + name, _ASR_IMAGES + name)]
    writer.writerow([*_PLAIN, *per_trigger])
    for one in measurements:
        rates = [cell for name in triggers for cell in (_cell(one.asr.get(name)), one.asr_images.get(name, ""))]
        writer.writerow([one.step, one.role, _cell(one.accuracy), one.images, int(one.estimated), *rates])
    return text.getvalue()


def metrics_from_csv(text: str) -> list[Measured]:
    """Reads what :func:`metrics_to_csv` wrote; a rate that was not a number is NaN, or left out of a trigger's.

    Raises:
        ValueError: The text is something else.
    """
    return list(_measurements(text))


def _measurements(text: str) -> Iterator[Measured]:
    table = csv.DictReader(io.StringIO(text), strict=True)
    try:
        columns = table.fieldnames or ()
        if tuple(columns[: len(_PLAIN)]) != _PLAIN:
            raise KeyError(columns)
        triggers = [column.removeprefix(_ASR) for column in columns if column.startswith(_ASR)]
        for row in table:
            role: Role = next(role for role in get_args(Role) if role == row["role"])
            measured = [name for name in triggers if row[_ASR + name]]
            yield Measured(
                role,
                int(row["step"]),
                float(row["accuracy"] or math.nan),
                int(row["images"]),
                {name: float(row[_ASR + name]) for name in measured},
                {name: int(row[_ASR_IMAGES + name] or 0) for name in measured},
                estimated=row["estimated"] == "1",
            )
    except (KeyError, TypeError, StopIteration, csv.Error) as error:
        raise ValueError("This is no table of measurements.") from error


def _cell(rate: float | None) -> str:
    return "" if rate is None or not math.isfinite(rate) else f"{rate:.6g}"
