from __future__ import annotations

from pathlib import Path

from abd_app.plan_paths import is_there


def test_what_may_not_be_looked_at_is_not_there(tmp_path: Path, closed_folder: Path) -> None:
    (tmp_path / "teacher.pth").touch()
    assert is_there(str(tmp_path / "teacher.pth"))
    assert not is_there(str(tmp_path / "other.pth")) and not is_there(str(closed_folder / "teacher.pth"))
