"""What is left of memory: of the machine, and of the groups that a process is in."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from abd_app.memory import available_bytes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say")

_KIB = 1024


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A machine with 8,000 KiB left, and a process in a group of a group; neither is limited."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 16000 kB\nMemAvailable:    8000 kB\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/outer/inner\n")
    for group in ("", "outer", "outer/inner"):
        _limit(tmp_path, group, "max", 0, 0)
    return tmp_path


def _limit(system: Path, group: str, most: int | str, taken: int, cached: int) -> None:
    folder = system / "sys/fs/cgroup" / group
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{most}\n")
    (folder / "memory.current").write_text(f"{taken}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\n")


def test_without_limits_the_machine_says_what_is_left(system: Path) -> None:
    assert available_bytes(system) == 8000 * _KIB


@pytest.mark.parametrize("group", ["", "outer", "outer/inner"])
def test_a_group_that_the_process_is_in_may_have_less(system: Path, group: str) -> None:
    _limit(system, group, 5000 * _KIB, 3000 * _KIB, 1000 * _KIB)
    assert available_bytes(system) == 3000 * _KIB


def test_a_group_that_is_over_its_limit_has_nothing_left(system: Path) -> None:
    _limit(system, "outer", 1000, 2000, 0)
    assert available_bytes(system) == 0


def test_another_group_does_not_matter(system: Path) -> None:
    _limit(system, "other", 1000, 2000, 0)
    assert available_bytes(system) == 8000 * _KIB


@pytest.mark.parametrize("lines", ["9:memory:/old\n", ""])
def test_without_groups_of_version_2_the_machine_counts(system: Path, lines: str) -> None:
    (system / "proc/self/cgroup").write_text(lines)
    assert available_bytes(system) == 8000 * _KIB


def test_this_machine_has_something_left() -> None:
    assert (available_bytes() or 0) > 2**20
