"""The fake runner of the window's tests, after as long a start as a real engine's."""

import time

from tests.gui.fake_runner import list_devices, release_memory, run_audit, run_inspection

__all__ = ["list_devices", "release_memory", "run_audit", "run_inspection"]
time.sleep(2.0)
