"""Result files are written whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from abd_app.errors import RunFailedError
from abd_app.export.files import replacing, write_text


def test_a_failed_write_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_explained(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError) as failure, replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "could not be written" in failure.value.what
    assert "Free some space" in failure.value.remedy
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_really_full_device_is_explained(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match=r"a\.txt"), replacing(tmp_path / "a.txt") as temporary:
        temporary.symlink_to("/dev/full")
        temporary.write_bytes(b"x" * 100_000)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_has_gone_is_explained(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError) as failure:
        write_text(tmp_path / "gone" / "a.txt", "text")
    assert "has gone" in failure.value.remedy


def test_names_that_utf8_cannot_hold_are_escaped(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "file\udcff")
    assert (tmp_path / "a.txt").read_text() == "file\\udcff"
