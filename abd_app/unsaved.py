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

    def see(self, event: Event) -> None:
        """Notes what the run says."""
        if isinstance(event, RunBegan):
            self._checkpoints = event.checkpoints
        elif isinstance(event, StepDone):
            self.is_anything = self._checkpoints and event.step > 0
        elif isinstance(event, CheckpointSaved):
            self.is_anything = False
