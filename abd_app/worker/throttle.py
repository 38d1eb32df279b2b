"""At most about twenty step events a second cross the pipe, however fast the device is."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from abd_app.events import Event, StepDone

_INTERVAL_S = 0.05


class StepThrottle:
    """Lets the newest of a burst of ``StepDone`` through; every other event passes at once, in order.

    Args:
        send: Takes the events that pass.
        clock: Seconds, monotonic.
    """

    def __init__(self, send: Callable[[Event], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._clock = clock
        self._waiting: StepDone | None = None
        self._sent_at_s = float("-inf")

    def send(self, event: Event) -> None:
        """Passes ``event`` on, now or with a later one."""
        if not isinstance(event, StepDone):
            self.flush()
            self._send(event)
            return
        waiting = self._waiting
        if waiting is not None and waiting.role != event.role:
            self.flush()
        elif waiting is not None and waiting.losses and not event.losses:
            event = dataclasses.replace(event, losses=waiting.losses)
        self._waiting = event
        if self._clock() - self._sent_at_s >= _INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        """Sends the step that still waits, if any."""
        if self._waiting is not None:
            self._send(self._waiting)
            self._waiting = None
            self._sent_at_s = self._clock()
