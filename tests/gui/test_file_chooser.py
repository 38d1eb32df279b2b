"""What a user types into the dialog is what is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QFileDialog

from abd_app.gui.file_chooser import FileChooser


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("mine", "mine.onnx"),
        ("mine.onnx", "mine.onnx"),
        ("MINE.ONNX", "MINE.ONNX"),
        ("student-v1.2", "student-v1.2.onnx"),
        ("dear.doc", "dear.doc.onnx"),
    ],
)
def test_a_name_gets_the_suffix_of_its_kind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, typed: str, written: str
) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / typed), "ONNX"))
    assert FileChooser().save("Export", "student.onnx", "ONNX (*.onnx)") == str(tmp_path / written)


def test_a_file_that_the_dialog_could_not_ask_about_is_asked_about(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine.onnx").write_bytes(b"dear")
    suggested: list[str] = []

    def answer(parent: object, title: str, suggestion: str, kinds: str) -> tuple[str, str]:
        suggested.append(suggestion)
        return str(tmp_path / ("mine" if len(suggested) == 1 else "mine.onnx")), kinds

    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    assert FileChooser().save("Export", "student.onnx", "ONNX (*.onnx)") == str(tmp_path / "mine.onnx")
    assert suggested == ["student.onnx", str(tmp_path / "mine.onnx")]


def test_nothing_is_written_if_the_user_thinks_better_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: ("", ""))
    assert FileChooser().save("Export", "student.onnx", "ONNX (*.onnx)") == ""
