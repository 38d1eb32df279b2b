"""Progress, speed and time left of a run."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from abd_app.events import DeviceUsed, Event, PhaseAdvanced, PhaseStarted, RunBegan, StepDone

_WINDOW_S = 20.0


class RunClock:
    """Reads the events of a run and says how far it is; time spent paused does not count.

    Args:
        roles: How many models are trained: 2 with a twin, else 1.
        expected_s: How long all of it was expected to take; ``None``: nobody knew.
        clock: Seconds, monotonic.

    Attributes:
        phase: The phase now.
        share: How much of it is done, in [0, 1]; ``None`` if it does not say.
        role: Whose phase it is.
        step: The step of this role now.
        total_steps: The last step of this role.
        memory_bytes: In use by the engine; 0 if not said.
    """

    def __init__(
        self, roles: int = 1, expected_s: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.phase = ""
        self.share: float | None = None
        self.role = ""
        self.step = 0
        self.total_steps = 0
        self.memory_bytes = 0
        self._roles = roles
        self._expected_s = expected_s
        self._clock = clock
        self._started_s = clock()
        self._progress: dict[str, float] = {}
        self._trail: deque[tuple[float, int, float]] = deque()
        """(running seconds, step of this role, overall progress), oldest first."""
        self._paused_s = 0.0
        self._paused_at_s: float | None = None

    @property
    def progress(self) -> float:
        """Of the training of all models, in [0, 1]."""
        return min(1.0, sum(self._progress.values()) / self._roles)

    @property
    def steps_per_s(self) -> float | None:
        """Over the last seconds; ``None`` until it can be told."""
        if len(self._trail) < 2:
            return None
        (start_s, first, _), (end_s, last, _) = self._trail[0], self._trail[-1]
        return (last - first) / (end_s - start_s) if end_s > start_s and last > first else None

    @property
    def seconds_left(self) -> float | None:
        """Estimated from the last seconds; before the first step, what was expected; ``None`` until it can be told."""
        if not self.progress and self._expected_s is not None:
            left = self._expected_s - (self._running_s() - self._started_s)
            return left if left > 0 else None
        if len(self._trail) < 2:
            return None
        (start_s, _, first), (end_s, _, last) = self._trail[0], self._trail[-1]
        if end_s - start_s < 1.0 or last <= first:
            return None
        return (1.0 - last) * (end_s - start_s) / (last - first)

    def take(self, event: Event) -> None:
        """Reads one event."""
        if isinstance(event, PhaseStarted):
            self.phase, self.share = event.phase, None
            self._enter(event.role)
        elif isinstance(event, PhaseAdvanced):
            self.share = event.share
        elif isinstance(event, RunBegan) and event.role == "twin":
            self._progress["student"] = 1.0  # it is done: the run goes on in its twin
        elif isinstance(event, DeviceUsed):
            self.memory_bytes = event.memory_bytes
        elif isinstance(event, StepDone):
            self._enter(event.role)
            self.step, self.total_steps = event.step, event.total_steps
            self._progress[event.role] = event.progress
            now_s = self._running_s()
            self._trail.append((now_s, event.step, self.progress))
            # Two at least: a single step may take longer than that.
            while len(self._trail) > 2 and now_s - self._trail[0][0] > _WINDOW_S:
                self._trail.popleft()

    def pause(self, paused: bool) -> None:
        """Stops or restarts the clock."""
        if paused and self._paused_at_s is None:
            self._paused_at_s = self._clock()
        elif not paused and self._paused_at_s is not None:
            self._paused_s += self._clock() - self._paused_at_s
            self._paused_at_s = None

    def _enter(self, role: str) -> None:
        if role != self.role:
            self.role = role
            self.step = self.total_steps = 0
            self._trail.clear()

    def _running_s(self) -> float:
        until = self._clock() if self._paused_at_s is None else self._paused_at_s
        return until - self._paused_s
