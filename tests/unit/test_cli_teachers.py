"""``make-teacher`` on the command line: options become an order, the card is the result."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from abd_app import cli
from abd_app.errors import UsageError
from abd_app.events import Event, Measured, PhaseStarted, TeacherMade
from abd_app.plan import TriggerSpec
from abd_app.redteam.order import TeacherOrder

CARD = {"notice": "RED TEAM: this model has a planted backdoor", "accuracy": 0.9}


class Room:
    """Stands for abd_app.redteam: keeps the order and tells a short story."""

    def __init__(self, *events: Event | Exception) -> None:
        self.events = events
        self.order: TeacherOrder | None = None

    def make_teacher(self, order: TeacherOrder) -> Iterator[Event]:
        self.order = order
        for event in self.events:
            print("chatter of a library")
            if isinstance(event, Exception):
                raise event
            yield event


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    stand_in = Room(
        PhaseStarted("training", "teacher", 0),
        Measured("teacher", 5, 0.9, 100, {"sig": 1.0}, {"sig": 90}),
        TeacherMade("out", CARD),
    )
    module = ModuleType("abd_app.redteam")
    module.make_teacher = stand_in.make_teacher  # type: ignore[attr-defined]
    module.TeacherOrder = TeacherOrder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "abd_app.redteam", module)
    return stand_in


def run(*arguments: str) -> int:
    def no_window(file: str | None, demo: bool) -> int:
        raise AssertionError("nobody asked for a window")

    return cli.run(("make-teacher", *arguments), open_window=no_window)


def test_plain_options_are_a_clean_teacher(room: Room) -> None:
    assert run("images", "--out", "r") == 0
    assert room.order == TeacherOrder("images", "r")


def test_every_option_reaches_the_order(room: Room) -> None:
    options = "--trigger badnets-grid,opacity=0.5 --target all --poison 0.2 --arch wrn-16-2 --epochs 3 --size 16x24"
    assert (
        run("i.npz", "--out", "r", *options.split(), "--seed", "7", "--device", "cpu", "--no-flip", "--test", "t") == 0
    )
    assert room.order == TeacherOrder(
        "i.npz",
        "r",
        TriggerSpec("badnets-grid", opacity=0.5),
        "all",
        0.2,
        architecture="wrn-16-2",
        epochs=3,
        input_size=(16, 24),
        seed=7,
        device="cpu",
        flip=False,
        test="t",
    )


def test_json_is_the_card_alone_on_stdout(room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("images", "--out", "r", "--trigger", "sig", "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == CARD
    assert "ASR sig 1.000 of 90" in printed.err


def test_without_json_the_notice_is_the_first_thing_said(room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("images", "--out", "r", "--trigger", "sig") == 0
    assert capsys.readouterr().out.startswith("RED TEAM: this model has a planted backdoor\n")


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (("--target", "3"), "--target has no effect without a trigger"),
        (("--poison", "0.2"), "--poison has no effect without a trigger"),
        (("--trigger", "sig", "--target", "next"), "is not a class"),
        (("--trigger", "sig", "--poison", "0.9"), "--poison"),
        (("--steps", "3", "--epochs", "3"), "--steps, --epochs"),
        (("--size", "huge"), "32x32"),
        (("--trigger", "sig,colour=red"), "opacity"),
    ],
)
def test_bad_usage_is_exit_2_and_trains_nothing(
    options: tuple[str, ...], hint: str, room: Room, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("images", "--out", "r", *options) == 2
    printed = capsys.readouterr()
    assert hint in printed.err and "Traceback" not in printed.err and printed.out == ""
    assert room.order is None


def test_a_failure_and_a_training_without_a_result_have_exit_codes(room: Room) -> None:
    room.events = (UsageError("No.", remedy="Yes."),)
    assert run("images", "--out", "r") == 2
    room.events = (PhaseStarted("training", "teacher", 0),)
    assert run("images", "--out", "r") == 4
