"""What the first nodes of a graph say about its pixels, and what is asked where they say nothing."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper

from abd_app.intake import inspect_teacher
from abd_app.intake.onnx_front import leading_arithmetic
from abd_app.plan import TeacherFacts
from tests.unit.intake.graphs import answers, classifier, opened, saved


def test_without_arithmetic_in_front_the_normalisation_is_asked(tmp_path: Path) -> None:
    for size, guess in ((8, "0.4914,0.4822,0.4465 / 0.247,0.243,0.261"), (64, "0.485,0.456,0.406 / 0.229,0.224,0.225")):
        (question,) = inspect_teacher(saved(classifier(size=size), tmp_path), TeacherFacts()).questions
        assert (question.fact, question.guess) == ("mean_std", guess)
        assert "recognises no normalisation" in question.why and "check the accuracy" in question.why


@pytest.mark.parametrize(("mean", "std"), [(123.7, 1 / 255), (0.45, 1.0)])
def test_what_is_subtracted_alone_tells_the_range_of_the_pixels(tmp_path: Path, mean: float, std: float) -> None:
    model = classifier([helper.make_node("Sub", ["x", "mu"], ["x1"])], mu=np.full((1, 3, 1, 1), mean, np.float32))
    teacher = opened(model, tmp_path, TeacherFacts())
    assert teacher.spec.std == pytest.approx((std,) * 3)
    images = torch.rand(2, 3, 8, 8)
    assert torch.allclose(teacher.network(images), answers(model, images / std), rtol=1e-3)


@pytest.mark.parametrize(
    ("scale", "std"),
    [(np.array([0.2, 0.3, 0.25], np.float32).reshape(1, 3, 1, 1), 1.0), (np.float32(255), 1 / 255)],
)
def test_arithmetic_in_front_states_the_range_of_the_pixels(tmp_path: Path, scale: Any, std: float) -> None:
    front = [helper.make_node("Sub", ["x", "mu"], ["x0"]), helper.make_node("Div", ["x0", "sd"], ["x1"])]
    model = classifier(front, mu=np.float32(0.4), sd=scale)
    teacher = opened(model, tmp_path, TeacherFacts())
    assert teacher.card.questions == ()
    assert teacher.spec.std == pytest.approx((std,) * 3)
    images = torch.rand(2, 3, 8, 8)
    assert torch.allclose(teacher.network(images), answers(model, images / std), atol=1e-3)


@pytest.mark.parametrize(("scale", "shift"), [(0.5, 0.5), (0.247, 0.4914)])
def test_a_graph_that_first_undoes_a_normalisation_is_asked_about(tmp_path: Path, scale: float, shift: float) -> None:
    front = [helper.make_node("Mul", ["x", "sd"], ["x0"]), helper.make_node("Add", ["x0", "mu"], ["x1"])]
    model = classifier(front, mu=np.float32(shift), sd=np.float32(scale))
    assert [question.fact for question in inspect_teacher(saved(model, tmp_path), TeacherFacts()).questions] == [
        "mean_std"
    ]


_FLIPPED = np.array([2, 1, 0])
_BETWEEN: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "Clip": (["low", "high"], {}),
    "Resize": (["", "scales"], {}),
    "Gather": (["flipped"], {"axis": 1}),
    "Slice": (["last", "first", "channels", "by"], {}),
    "Neg": ([], {}),
}


@pytest.mark.parametrize("operator", _BETWEEN)
@pytest.mark.parametrize("std", [1 / 255, 1.0])
def test_what_goes_on_between_does_not_hide_the_arithmetic(tmp_path: Path, operator: str, std: float) -> None:
    more, attributes = _BETWEEN[operator]
    front = [
        helper.make_node(operator, ["x", *more], ["x2"], **attributes),
        helper.make_node("Add" if operator == "Neg" else "Sub", ["x2", "mu"], ["x3"]),
        helper.make_node("Div", ["x3", "sd"], ["x1"]),
    ]
    numbers = {"low": 0, "high": 255, "scales": [1, 1, 2, 2], "mu": 0.45 / std}
    floats = {name: np.float32(value) for name, value in numbers.items()}
    places = {"last": [-1], "first": [-(2**63)], "channels": [1], "by": [-1]}
    whole = {name: np.array(value, np.int64) for name, value in places.items()}
    sd = (np.array([0.2, 0.25, 0.3], np.float32) / np.float32(std)).reshape(1, 3, 1, 1)
    model = classifier(front, sd=sd, flipped=_FLIPPED, **floats, **whole)
    teacher = opened(model, tmp_path, TeacherFacts())
    assert teacher.card.questions == () and teacher.spec.std == pytest.approx((std,) * 3)
    images = torch.rand(2, 3, 8, 8)
    assert torch.allclose(teacher.network(images), answers(model, images / std), rtol=1e-3, atol=1e-3)


def test_a_chain_of_many_nodes_is_read_at_once() -> None:
    names = ["x", *(f"v{index}" for index in range(20_000)), "x1"]
    front = [helper.make_node("Identity", [name], [other]) for name, other in itertools.pairwise(names)]
    started = time.monotonic()
    assert leading_arithmetic(classifier(front), "x", 3) == (None, 0.0)
    assert time.monotonic() - started < 5


def test_a_constant_less_the_pixels_is_read_and_a_choice_of_channels_is_not(tmp_path: Path) -> None:
    inverted = classifier([helper.make_node("Sub", ["white", "x"], ["x1"])], white=np.float32(255))
    assert opened(inverted, tmp_path, TeacherFacts()).spec.std == pytest.approx((1 / 255,) * 3)
    red = [helper.make_node("Gather", ["x", "red"], ["x2"], axis=1), helper.make_node("Div", ["x2", "sd"], ["x1"])]
    model = classifier(red, red=np.array([0, 0, 0]), sd=np.float32(255))
    assert [one.fact for one in inspect_teacher(saved(model, tmp_path), TeacherFacts()).questions] == ["mean_std"]
