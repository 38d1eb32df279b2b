"""The child's end of the order pipe."""

from __future__ import annotations

import os
import queue
import threading
import time
from multiprocessing.connection import Connection

from abd_app.worker.codec import CodecError, decode
from abd_app.worker.messages import Command, Job

_GOODBYE_S = 1.0


class Mailbox:
    """What the parent has asked for, read by a thread of its own so that a long step cannot delay it.

    When the parent closes the pipe or dies, the job is cancelled, and a process that has still not left one second
    later is ended: nobody is left to work for.

    Attributes:
        pause: The job should stand still after its next event.
        stop: The job should finish with what it has.
        cancel: The job should be dropped.
        suspend: It should write a checkpoint and be dropped then.
    """

    def __init__(self, orders: Connection) -> None:
        self.pause = self.stop = self.cancel = self.suspend = False
        self._orders = orders
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._unpaused = threading.Event()

    def start(self) -> None:
        """Starts reading."""
        threading.Thread(target=self._read, name="orders", daemon=True).start()

    def next_job(self) -> Job | None:
        """Waits for a job; ``None`` when there will be no more."""
        return self._jobs.get()

    def wait_while_paused(self) -> bool:
        """Returns when the job may run on; True if it must end instead."""
        self._unpaused.wait()
        return self.cancel

    def _read(self) -> None:
        try:
            while True:
                self._take(decode(self._orders.recv_bytes()))
        except (EOFError, OSError, CodecError):
            self.cancel = True
            self._unpaused.set()
            self._jobs.put(None)
            time.sleep(_GOODBYE_S)
            os._exit(0)

    def _take(self, message: Job | Command) -> None:
        if not isinstance(message, Command):
            # Orders for an earlier job that ended before they arrived must not hit this one.
            self.pause = self.stop = self.cancel = self.suspend = False
            self._unpaused.set()
            self._jobs.put(message)
        elif message.name == "pause":
            self._unpaused.clear()
            self.pause = True
        else:
            self.stop = self.stop or message.name == "stop"
            self.suspend = self.suspend or message.name == "suspend"
            self.cancel = self.cancel or message.name == "cancel"
            self.pause = False
            self._unpaused.set()
