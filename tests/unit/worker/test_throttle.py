from __future__ import annotations

from collections.abc import Callable

from abd_app.events import Event, Measured, PhaseAdvanced, StepDone
from abd_app.worker.throttle import StepThrottle


def step(number: int, role: str = "student", **losses: float) -> StepDone:
    return StepDone(role, number, 1000, number / 1000, losses)  # type: ignore[arg-type]


def burst(events_of: Callable[[int], list[Event]]) -> tuple[StepThrottle, list[Event]]:
    """A throttle after a second with 1,000 steps, and what it has sent."""
    sent: list[Event] = []
    now_s = 0.0
    throttle = StepThrottle(sent.append, clock=lambda: now_s)
    for number in range(1, 1001):
        now_s = number / 1000
        for event in events_of(number):
            throttle.send(event)
    throttle.flush()
    return throttle, sent


def test_a_burst_of_steps_becomes_twenty_a_second() -> None:
    _throttle, sent = burst(lambda number: [step(number)])
    assert 15 <= len(sent) <= 22
    assert sent[-1] == step(1000)


def test_shares_of_a_phase_between_steps_are_held_back_too() -> None:
    throttle, sent = burst(lambda number: [step(number, kd=0.5), PhaseAdvanced("student", number / 1000)])
    assert len(sent) <= 44
    assert sent[-2:] == [step(1000, kd=0.5), PhaseAdvanced("student", 1.0)]
    throttle.send(PhaseAdvanced("student", 0.1))
    throttle.send(PhaseAdvanced("twin", 0.2))
    assert sent[-1] == PhaseAdvanced("student", 0.1), "the twin's does not swallow it"


def test_other_events_pass_at_once_and_in_order() -> None:
    sent: list[Event] = []
    throttle = StepThrottle(sent.append, clock=lambda: 0.0)
    measured = Measured("student", 2, 0.5, 10, {}, {})
    for event in (step(1), step(2), measured, step(3)):
        throttle.send(event)
    assert sent == [step(1), step(2), measured]
    throttle.flush()
    assert sent[-1] == step(3)


def test_losses_of_a_swallowed_step_are_not_lost() -> None:
    sent: list[Event] = []
    throttle = StepThrottle(sent.append, clock=lambda: 0.0)
    for event in (step(1), step(2, kd=0.5), step(3)):
        throttle.send(event)
    throttle.flush()
    assert sent == [step(1), step(3, kd=0.5)]
    for event in (step(4, kd=0.4, at=1.0), step(4, disagreement=2.0), step(4, kd=0.3)):
        throttle.send(event)
    throttle.flush()
    assert sent[-1] == step(4, kd=0.3, at=1.0, disagreement=2.0), "several kinds of one step"


def test_the_last_step_of_the_student_is_not_swallowed_by_the_twin() -> None:
    sent: list[Event] = []
    throttle = StepThrottle(sent.append, clock=lambda: 0.0)
    for event in (step(1), step(2), step(1, "twin")):
        throttle.send(event)
    assert sent == [step(1), step(2)]
