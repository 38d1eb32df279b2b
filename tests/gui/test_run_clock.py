from __future__ import annotations

import pytest

from abd_app.events import DeviceUsed, PhaseAdvanced, PhaseStarted, RunBegan, StepDone
from abd_app.gui.live.run_clock import RunClock


class Hands:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def hands() -> Hands:
    return Hands()


def step(clock: RunClock, hands: Hands, number: int, role: str = "student", total: int = 100) -> None:
    hands.now_s += 0.5
    clock.take(StepDone(role, number, total, number / total))  # type: ignore[arg-type]


def test_speed_and_time_left_come_from_the_last_steps(hands: Hands) -> None:
    clock = RunClock(clock=hands)
    for number in range(1, 21):
        step(clock, hands, number)
    assert clock.progress == pytest.approx(0.2)
    assert clock.steps_per_s == pytest.approx(2.0)
    assert clock.seconds_left == pytest.approx(40.0)


def test_a_step_may_take_longer_than_the_last_seconds(hands: Hands) -> None:
    clock = RunClock(clock=hands)
    for number in range(1, 6):
        hands.now_s += 30.0
        step(clock, hands, number)
    assert clock.steps_per_s == pytest.approx(1 / 30.5)
    assert clock.seconds_left == pytest.approx(95 * 30.5)


def test_a_phase_without_steps_says_how_far_it_is_until_the_next_begins(hands: Hands) -> None:
    clock = RunClock(clock=hands)
    clock.take(PhaseStarted("vaccine check", "student", 0))
    assert clock.share is None
    clock.take(PhaseAdvanced("student", 0.4))
    assert clock.share == 0.4
    clock.take(PhaseStarted("distilling", "student", 0))
    assert clock.share is None


def test_nothing_is_said_before_it_can_be_known(hands: Hands) -> None:
    clock = RunClock(clock=hands)
    assert (clock.steps_per_s, clock.seconds_left, clock.progress) == (None, None, 0.0)
    step(clock, hands, 1)
    assert (clock.steps_per_s, clock.seconds_left) == (None, None)


def test_until_the_first_step_what_was_expected_is_what_is_left(hands: Hands) -> None:
    """Self-Retrospection comes first, and has no steps of the student."""
    clock = RunClock(expected_s=100.0, clock=hands)
    assert clock.seconds_left == 100
    for _ in range(10):
        step(clock, hands, 0)
    assert clock.seconds_left == 95
    clock.pause(True)
    hands.now_s += 30
    assert clock.seconds_left == 95
    clock.pause(False)
    hands.now_s += 85
    assert clock.seconds_left == 10
    hands.now_s += 10
    assert clock.seconds_left is None, "it was expected too early"
    for number in (1, 2, 3):
        step(clock, hands, number)
    assert clock.seconds_left is not None and clock.seconds_left > 10, "from what is seen"


def test_a_pause_does_not_count(hands: Hands) -> None:
    clock = RunClock(clock=hands)
    for number in range(1, 11):
        step(clock, hands, number)
    clock.pause(True)
    hands.now_s += 3600
    clock.pause(False)
    for number in range(11, 21):
        step(clock, hands, number)
    assert clock.seconds_left == pytest.approx(40.0)


def test_a_twin_doubles_the_whole(hands: Hands) -> None:
    clock = RunClock(roles=2, clock=hands)
    for number in range(1, 101):
        step(clock, hands, number)
    assert clock.progress == pytest.approx(0.5)
    clock.take(PhaseStarted("distilling", "twin", 0))
    assert (clock.role, clock.step, clock.steps_per_s) == ("twin", 0, None)
    for number in range(1, 51):
        step(clock, hands, number, "twin")
    assert clock.progress == pytest.approx(0.75)
    assert clock.seconds_left == pytest.approx(25.0, rel=0.05)


def test_memory_is_the_last_said(hands: Hands) -> None:
    clock = RunClock(clock=hands)
    clock.take(DeviceUsed("CPU", 5))
    assert clock.memory_bytes == 5


def test_a_run_that_goes_on_in_its_twin_has_its_student_behind_it(hands: Hands) -> None:
    clock = RunClock(roles=2, clock=hands)
    clock.take(RunBegan("out", "resumed", "twin", 50))
    for number in range(51, 76):
        step(clock, hands, number, "twin")
    assert clock.progress == pytest.approx(0.875)
    assert clock.seconds_left == pytest.approx(12.5, rel=0.05)
