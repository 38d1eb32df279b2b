"""What is left of memory: of the machine, and of the groups that a process is in."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from abd_app.memory import available_bytes, forget_peak, most_resident_bytes, number_behind, peak_resident_bytes

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


@pytest.mark.parametrize("lines", ["9:cpu:/outer\n", ""])
def test_without_groups_of_memory_the_machine_counts(system: Path, lines: str) -> None:
    (system / "proc/self/cgroup").write_text(lines)
    assert available_bytes(system) == 8000 * _KIB


@pytest.mark.parametrize("group", ["", "old"])
def test_groups_of_version_1_may_have_less(system: Path, group: str) -> None:
    """In a container the group is the root of what it sees, whatever its name outside."""
    (system / "proc/self/cgroup").write_text("4:cpu,memory:/old\n3:cpuset:/\n0::/\n")
    folder = system / "sys/fs/cgroup/memory" / group
    folder.mkdir(parents=True)
    sizes = {"limit": 5000, "usage": 3000}
    for name, kib in sizes.items():
        (folder / f"memory.{name}_in_bytes").write_text(f"{kib * _KIB}\n")
    (folder / "memory.stat").write_text(f"inactive_file 1\ntotal_inactive_file {1000 * _KIB}\n")
    assert available_bytes(system) == 3000 * _KIB


def test_a_kernel_that_does_not_say_what_is_left_is_not_out_of_memory(system: Path) -> None:
    (system / "proc/meminfo").write_text("MemTotal: 16000 kB\n")
    assert available_bytes(system) is None


def test_names_in_other_alphabets_do_not_matter(system: Path) -> None:
    (system / "proc/self/cgroup").write_bytes("0::/outer/größe\n".encode("latin-1"))
    _limit(system, "outer", 2000 * _KIB, 0, 0)
    assert available_bytes(system) == 2000 * _KIB
    (system / "proc/self/status").write_bytes("Name:\tprüfung\nVmRSS:\t  12 kB\n".encode("latin-1"))
    assert number_behind("VmRSS:", system / "proc/self/status") == 12


def test_a_peak_that_was_forgotten_was_one() -> None:
    taken = b"1" * (150 * 2**20)
    before = most_resident_bytes()
    assert before >= len(taken)
    del taken
    forget_peak()
    assert peak_resident_bytes() < before - 100 * 2**20
    assert most_resident_bytes() >= before


def test_this_machine_has_something_left() -> None:
    assert (available_bytes() or 0) > 2**20
