"""What leaves the window after a run: it is handed over whole, or it is told why not."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from PySide6.QtGui import QDesktopServices

from abd_app.events import AuditFinished
from abd_app.gui.main_window import MainWindow
from tests.gui.conftest import AnsweredChooser, StandInEngine
from tests.gui.test_window import make_ready


def test_an_export_that_fails_leaves_the_old_file_and_says_why(
    window: MainWindow,
    stand_in: StandInEngine,
    chooser: AnsweredChooser,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_ready(window, stand_in)
    window.distill()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "student.onnx").write_bytes(b"student")
    stand_in.say(AuditFinished(str(tmp_path / "out"), {}))
    old = tmp_path / "old.onnx"
    old.write_bytes(b"old")
    chooser.answer = str(old)

    def copy_a_part(source: Path, destination: Path) -> None:
        destination.write_bytes(b"stu")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", copy_a_part)
    window.handover.export_onnx()
    assert old.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.glob("*old*")) == ["old.onnx"]
    assert window.banner.isVisible()
    assert "could not be saved" in window.banner.text and "No space left" in window.banner.text
    assert str(tmp_path / "out") in window.banner.text, "the original stays there"
    assert "What to do" in window.banner.text


def test_a_run_whose_folder_is_gone_is_said_to_be_gone(
    window: MainWindow,
    stand_in: StandInEngine,
    chooser: AnsweredChooser,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_ready(window, stand_in)
    window.distill()
    stand_in.say(AuditFinished(str(tmp_path / "gone"), {}))
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: pytest.fail("there is nothing to show"))
    chooser.answer = str(tmp_path / "mine")
    for button, missing in (
        (window.result.export, tmp_path / "gone" / "student.onnx"),
        (window.result.save_report, tmp_path / "gone" / "report.html"),
        (window.result.open_folder, tmp_path / "gone"),
    ):
        window.banner.hide()
        button.click()
        assert window.banner.isVisible() and "no longer there" in window.banner.text
        assert str(missing) in window.banner.text.splitlines()[1]
        assert "stays in" not in window.banner.text
    assert chooser.suggestion == "", "nobody is asked where to save what is not there"


def test_a_folder_that_the_system_does_not_show_is_told(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ready(window, stand_in)
    window.distill()
    stand_in.say(AuditFinished(str(tmp_path), {}))
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: False)
    window.result.open_folder.click()
    assert "could not open" in window.banner.text and str(tmp_path) in window.banner.text
