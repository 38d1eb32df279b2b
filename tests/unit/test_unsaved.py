"""What a run would lose if it ended now."""

from __future__ import annotations

from abd_app.events import CheckpointSaved, RunBegan, StepDone
from abd_app.unsaved import Unsaved


def _step(number: int, role: str = "student") -> StepDone:
    return StepDone(role, number, 1000, number / 1000)  # type: ignore[arg-type]


def test_what_was_learned_since_the_last_checkpoint_would_be_lost() -> None:
    unsaved = Unsaved()
    unsaved.see(RunBegan("out", "new"))
    unsaved.see(_step(0))
    assert not unsaved.is_anything, "nothing was learned yet"
    unsaved.see(_step(1))
    assert unsaved.is_anything
    unsaved.see(CheckpointSaved("student", 1))
    assert not unsaved.is_anything
    unsaved.see(_step(1))
    assert not unsaved.is_anything, "a step of the generator is in no checkpoint"
    unsaved.see(_step(1, "twin"))
    assert unsaved.is_anything


def test_a_run_that_goes_on_has_learned_nothing_new_at_first() -> None:
    unsaved = Unsaved()
    unsaved.see(RunBegan("out", "resumed", "student", 100))
    unsaved.see(_step(100))
    assert not unsaved.is_anything
    unsaved.see(_step(101))
    assert unsaved.is_anything


def test_a_run_without_checkpoints_can_lose_nothing_that_it_could_keep() -> None:
    unsaved = Unsaved()
    unsaved.see(RunBegan("out", "new", checkpoints=False))
    unsaved.see(_step(5))
    assert not unsaved.is_anything
