"""Measurements as CSV, both ways."""

from __future__ import annotations

import math

import pytest

from abd_app.events import Measured
from abd_app.metrics_file import metrics_from_csv, metrics_to_csv

MEASURED = [
    Measured("teacher", 0, 0.75, 300, {"sig": 1.0, "a,b\n.png": 0.25}, {"sig": 270, "a,b\n.png": 4}),
    Measured("student", 10, 0.5, 300, {"sig": 0.125}, {"sig": 270}),
    Measured("twin", 20, 0.25, 10, {}, {}, estimated=True),
]


def test_what_was_written_is_read_again() -> None:
    assert metrics_from_csv(metrics_to_csv(MEASURED)) == MEASURED
    assert metrics_from_csv(metrics_to_csv([])) == []


def test_a_rate_that_is_not_a_number_is_an_empty_cell() -> None:
    text = metrics_to_csv([Measured("student", 1, math.nan, 0, {"sig": math.nan}, {"sig": 0})])
    assert text.splitlines()[1] == "1,student,,0,0,,0"
    (read,) = metrics_from_csv(text)
    assert math.isnan(read.accuracy) and read.asr == {} == read.asr_images


def test_a_rate_whose_images_nobody_counted_is_read_again() -> None:
    (read,) = metrics_from_csv(metrics_to_csv([Measured("student", 1, 0.5, 4, {"sig": 0.5}, {})]))
    assert (read.asr, read.asr_images) == ({"sig": 0.5}, {"sig": 0})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>\n",
        "step,role\n1,student\n",
        "step,role,accuracy,images,estimated\n1,nobody,0.5,3,0\n",
        "step,role,accuracy,images,estimated\n1,student\n",
        "step,role,accuracy,images,estimated\none,student,0.5,3,0\n",
        'step,role,accuracy,images,estimated\n1,"student',
    ],
)
def test_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"measurements|invalid literal"):
        metrics_from_csv(text)
