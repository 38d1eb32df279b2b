"""The states of the window."""

from __future__ import annotations

import enum


class State(enum.Enum):
    """What the window is doing."""

    EMPTY = "empty"
    INSPECTING = "inspecting"
    ASKING = "asking"
    READY = "ready"
    REFUSED = "refused"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    CANCELLING = "cancelling"
    FINISHED = "finished"
    FAILED = "failed"


RUN_STATES = (State.RUNNING, State.PAUSED, State.STOPPING, State.CANCELLING)
STARTABLE_STATES = (State.READY, State.FINISHED, State.FAILED)
