"""What a user types into the dialog is what is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from abd_app.gui.file_chooser import FileChooser


@pytest.mark.parametrize(("typed", "written"), [("mine", "mine.onnx"), ("mine.onnx", "mine.onnx"), ("a.b", "a.b")])
def test_a_name_without_a_suffix_gets_one(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, typed: str, written: str
) -> None:
    def answer(dialog: QFileDialog) -> int:
        qtbot.addWidget(dialog)
        assert dialog.acceptMode() is QFileDialog.AcceptMode.AcceptSave and not dialog.testOption(
            QFileDialog.Option.DontConfirmOverwrite
        )
        dialog.selectFile(str(tmp_path / typed))
        return 1

    monkeypatch.setattr(QFileDialog, "exec", answer)
    saved = FileChooser().save("Export", "student.onnx", "ONNX (*.onnx)")
    assert Path(saved) == tmp_path / written


def test_nothing_is_written_if_the_user_thinks_better_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QFileDialog, "exec", lambda dialog: 0)
    assert FileChooser().save("Export", "student.onnx", "ONNX (*.onnx)") == ""
