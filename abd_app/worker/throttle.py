"""At most about twenty events of progress a second cross the pipe, however fast the device is."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from abd_app.events import Event, PhaseAdvanced, StepDone

_INTERVAL_S = 0.05


class StepThrottle:
    """Lets the newest of a burst of ``StepDone`` and ``PhaseAdvanced`` through; all others pass at once, in order.

    Args:
        send: Takes the events that pass.
        clock: Seconds, monotonic.
    """

    def __init__(self, send: Callable[[Event], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._clock = clock
        self._waiting: dict[type[Event], StepDone | PhaseAdvanced] = {}
        self._sent_at_s = float("-inf")

    def send(self, event: Event) -> None:
        """Passes ``event`` on, now or with a later one."""
        if not isinstance(event, StepDone | PhaseAdvanced):
            self.flush()
            self._send(event)
            return
        if any(waiting.role != event.role for waiting in self._waiting.values()):
            self.flush()
        waiting = self._waiting.pop(type(event), None)
        if isinstance(event, StepDone) and isinstance(waiting, StepDone):
            event = dataclasses.replace(event, losses={**waiting.losses, **event.losses})
        self._waiting[type(event)] = event
        if self._clock() - self._sent_at_s >= _INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        """Sends what still waits, if anything does."""
        if self._waiting:
            for event in self._waiting.values():
                self._send(event)
            self._waiting.clear()
            self._sent_at_s = self._clock()
