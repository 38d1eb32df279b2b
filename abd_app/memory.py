"""What memory is left for this process, as the system says."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_SYSTEM = Path("/")
PROCESS = _SYSTEM / "proc/self"
"""What Linux says of this process."""
_CLEAR, _STATUS = PROCESS / "clear_refs", PROCESS / "status"


def available_bytes(system: Path = _SYSTEM) -> int | None:
    """What programs can still take without swapping; ``None`` where the system does not say (other than Linux).

    In a container, or in another control group (v2) of limited memory, not more than what the group has left.

    Args:
        system: Where ``proc`` and ``sys`` are.
    """
    if sys.platform != "linux":
        return None
    left = number_behind("MemAvailable:", system / "proc/meminfo") * 1024
    return min([left, *_left_of_groups(system)])


def can_measure_peaks() -> bool:
    """Whether the system tells how much memory this process has at most."""
    return _STATUS.exists() and os.access(_CLEAR, os.W_OK)


def forget_peak() -> None:
    """Lets the next :func:`peak_resident_bytes` tell of what comes from now on; nothing where none is told."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5", encoding="ascii")


def resident_bytes() -> int:
    """What this process has in memory now; 0 where the system does not say."""
    return number_behind("VmRSS:", _STATUS) * 1024 if _STATUS.exists() else 0


def peak_resident_bytes() -> int:
    """What it has had at most; 0 where the system does not say."""
    return number_behind("VmHWM:", _STATUS) * 1024 if _STATUS.exists() else 0


def give_back() -> None:
    """Returns memory that this process has freed to the system, which otherwise counts as taken."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # glibc alone keeps it, and has this
        ctypes.CDLL(None).malloc_trim(0)


def _left_of_groups(system: Path) -> Iterator[int]:
    """What the control group of this process, and each that it is in, has left; caches of files count as left."""
    with contextlib.suppress(OSError):
        lines = (system / "proc/self/cgroup").read_text(encoding="ascii").splitlines()
        own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
        root = system / "sys/fs/cgroup"
        for group in [root / own, *(root / own).parents]:
            if not group.is_relative_to(root):
                return
            most, taken, statistics = (group / f"memory.{name}" for name in ("max", "current", "stat"))
            if most.is_file() and (said := most.read_text(encoding="ascii").strip()) != "max":
                cached = number_behind("inactive_file", statistics)
                yield max(0, int(said) - int(taken.read_text(encoding="ascii")) + cached)


def number_behind(name: str, path: Path) -> int:
    """The number in the line of a file of the kernel that begins with ``name``; 0 if there is none."""
    with path.open(encoding="ascii") as lines:
        return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
