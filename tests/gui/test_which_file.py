"""Which file is meant can be seen: its whole path, and its folder where another one has the same name."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication, QLabel
from pytestqt.qtbot import QtBot

from abd_app.gui.look.labels import ElidedLabel
from abd_app.gui.main_window import MainWindow
from abd_app.gui.settings import Settings
from abd_app.plan import TriggerSpec
from abd_app.text import distinct_file_names
from tests.gui.conftest import StandInEngine, teacher_file
from tests.gui.test_window import make_ready


def _told_by(window: MainWindow, text: str) -> list[str]:
    """Tooltips of the labels that show a text, or the ends of it."""
    return [label.toolTip() for label in window.setup.findChildren(QLabel) if label.text() == text]


def test_whole_paths_are_told_at_every_width(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path, qapp: QApplication
) -> None:
    make_ready(window, stand_in, str(tmp_path / "t.pth"))
    window.setup.evaluation.choose_data(str(tmp_path / "images.npz"))
    window.setup.evaluation.add_triggers(TriggerSpec(str(tmp_path / "logo.png")))
    window.draft.choose(picture=str(tmp_path / "city.png"))
    window.setup.plan.fold.heading.setChecked(True)
    for width in (1024, 1400, 1100):
        window.resize(width, 700)
        window._columns.setSizes([width - 600, 600])
        qapp.processEvents()
        for name in ("t.pth", "images.npz", "logo.png"):
            assert [str(tmp_path / name) in told for told in _told_by(window, name)] == [True], (name, width)
        assert str(tmp_path / "city.png") in window.setup.plan.advanced.picture.toolTip()
    window.draft.choose(picture=None)
    assert "city" not in window.setup.plan.advanced.picture.toolTip()


def test_a_text_that_is_shortened_is_told_unless_there_is_more_to_tell(qtbot: QtBot) -> None:
    label = ElidedLabel("a long text that does not fit")
    qtbot.addWidget(label)
    label.resize(60, 20)
    label.show()
    assert "that does not fit" in label.toolTip()
    label.resize(600, 20)
    assert label.toolTip() == ""
    label.set_whole_text("short", "/the/whole/<path>")
    assert "/the/whole/&lt;path&gt;" in label.toolTip()
    label.set_whole_text("short")
    assert label.toolTip() == ""


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/m/a/model.pth", "/m/b/model.pth", "/m/c.onnx"], ["a/model.pth", "b/model.pth", "c.onnx"]),
        (["/x/best/model.pth", "/y/best/model.pth"], ["x/best/model.pth", "y/best/model.pth"]),
        (["/model.pth", "/a/model.pth"], ["/model.pth", "a/model.pth"]),
        (["/m/\u202ea/model.pth", "/m/b/model.pth"], ["\\u202ea/model.pth", "b/model.pth"]),
        ([], []),
    ],
)
def test_files_of_the_same_name_are_told_apart_by_their_folders(paths: list[str], names: list[str]) -> None:
    assert [name.replace("\\", "/") for name in distinct_file_names(paths)] == [one.replace("\\", "/") for one in names]


def test_recent_files_of_the_same_name_are_told_apart(
    window: MainWindow, stand_in: StandInEngine, settings: Settings, tmp_path: Path
) -> None:
    for folder in ("R&D", "b"):
        (tmp_path / folder).mkdir()
        settings.add_recent_file(str(teacher_file(tmp_path / folder, "model.pth")))
    recent = window.actions_.recent
    recent.aboutToShow.emit()
    first, second = recent.actions()[:2]
    assert [Path(action.text()).parts for action in (first, second)] == [("b", "model.pth"), ("R&&D", "model.pth")]
    assert recent.toolTipsVisible() and str(tmp_path / "b" / "model.pth") in first.toolTip()
    first.trigger()
    assert window.session.file == str(tmp_path / "b" / "model.pth")
