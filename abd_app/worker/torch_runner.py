"""The real runner of the engine child. Importing it imports torch: only the child may."""

from __future__ import annotations

import os

import torch

from abd_app.audit import look_at_images, run_audit, run_inspection
from abd_app.events import DevicesListed
from abd_app.memory import available_bytes

__all__ = ["list_devices", "look_at_images", "release_memory", "run_audit", "run_inspection"]


def list_devices() -> DevicesListed:
    """The devices that ``--device`` can name, the GPU first if there is one."""
    devices = [("cpu", f"CPU, {os.cpu_count()} cores", available_bytes() or 0)]
    if torch.cuda.is_available():
        free_bytes, _ = torch.cuda.mem_get_info()
        devices.insert(0, ("cuda", torch.cuda.get_device_name(), free_bytes))
    return DevicesListed(tuple(devices))


def release_memory() -> None:
    """Returns cached blocks to the device."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
