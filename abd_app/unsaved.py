"""What a run would lose if it ended now."""

from __future__ import annotations

from abd_app.events import CheckpointSaved, Event, RunBegan, StepDone


class Unsaved:
    """Follows the events of a run.

    Attributes:
        is_anything: Whether something was learned that is in no checkpoint, and that will be in one.
    """

    def __init__(self) -> None:
        self.is_anything = False
        self._checkpoints = True
        self._saved: tuple[str, int] | None = None

    def see(self, event: Event) -> None:
        """Notes what the run says."""
        if isinstance(event, RunBegan):
            self._checkpoints, self._saved = event.checkpoints, (event.role, event.step)
        elif isinstance(event, StepDone):
            # Steps of a generator between two steps of the student are in no checkpoint.
            self.is_anything = self._checkpoints and event.step > 0 and (event.role, event.step) != self._saved
        elif isinstance(event, CheckpointSaved):
            self.is_anything, self._saved = False, (event.role, event.step)
