"""What memory is left for this process, and how much it has and had, as the system says."""

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
_GROUP_FILES = ("memory.max", "memory.current", "inactive_file")
_OLD_GROUP_FILES = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
"""Of control groups of version 1."""
_forgotten_bytes = list[int]()
"""Peaks that were forgotten."""


def available_bytes(system: Path = _SYSTEM) -> int | None:
    """What programs can still take without swapping; ``None`` where the system does not say (other than Linux).

    In a container, or in another control group of limited memory, not more than what the group has left.

    Args:
        system: Where ``proc`` and ``sys`` are.
    """
    if sys.platform != "linux":
        return None
    left = number_behind("MemAvailable:", system / "proc/meminfo")
    return min([left * 1024, *_left_of_groups(system)]) if left else None


def can_measure_peaks() -> bool:
    """Whether the system tells how much memory this process has at most."""
    return _STATUS.exists() and os.access(_CLEAR, os.W_OK)


def forget_peak() -> None:
    """Lets the next :func:`peak_resident_bytes` tell of what comes from now on; nothing where none is told."""
    _forgotten_bytes.append(peak_resident_bytes())
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5", encoding="ascii")


def resident_bytes() -> int:
    """What this process has in memory now; 0 where the system does not say."""
    return number_behind("VmRSS:", _STATUS) * 1024 if _STATUS.exists() else 0


def peak_resident_bytes() -> int:
    """What it has had at most; 0 where the system does not say."""
    return number_behind("VmHWM:", _STATUS) * 1024 if _STATUS.exists() else 0


def most_resident_bytes() -> int:
    """What it has had at most since it began, whatever was forgotten; 0 where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return max(*_forgotten_bytes, 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def give_back() -> None:
    """Returns memory that this process has freed to the system, which otherwise counts as taken."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # glibc alone keeps it, and has this
        ctypes.CDLL(None).malloc_trim(0)


def number_behind(name: str, path: Path) -> int:
    """The number in the line of a file of the kernel that begins with ``name``; 0 if there is none."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def _left_of_groups(system: Path) -> Iterator[int]:
    """What the control groups of this process, and each that they are in, have left; caches of files count as left."""
    with contextlib.suppress(OSError):
        lines = os.fsdecode((system / "proc/self/cgroup").read_bytes()).splitlines()
        for number, controllers, own in (line.split(":", 2) for line in lines):
            if number == "0":
                yield from _left_on_the_way(system / "sys/fs/cgroup", own, _GROUP_FILES)
            elif "memory" in controllers.split(","):
                yield from _left_on_the_way(system / "sys/fs/cgroup/memory", own, _OLD_GROUP_FILES)


def _left_on_the_way(root: Path, own: str, names: tuple[str, str, str]) -> Iterator[int]:
    """Of a group and all that it is in; in a container the group may have another name outside, and is the root."""
    most_file, taken_file, cached = names
    group = root / own.lstrip("/")
    for folder in [group, *group.parents]:
        if not folder.is_relative_to(root):
            return
        if (folder / most_file).is_file() and (most := (folder / most_file).read_text().strip()) != "max":
            taken = int((folder / taken_file).read_text())
            yield max(0, int(most) - taken + number_behind(cached, folder / "memory.stat"))
