"""A file is there whole or as it was: it is renamed into place, never written there."""

from __future__ import annotations

from pathlib import Path

import pytest

from abd_app.whole_file import parts_left, replaced_whole


def test_the_file_that_was_written_takes_the_place(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    with replaced_whole(path) as temporary:
        temporary.write_text("new")
        written, before = temporary.stat().st_ino, path.read_text()
    assert (before, path.read_text(), path.stat().st_ino) == ("old", "new", written)
    assert list(tmp_path.iterdir()) == [path]


def test_what_ends_early_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / f"{'n' * 240}.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replaced_whole(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_found_by_the_name_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "plan [1].json"
    (tmp_path / ".other.json.1.part").touch()
    with replaced_whole(path) as temporary:
        temporary.touch()
        assert parts_left(path) == [temporary]
