"""The curves as a file: the newest, complete or not at all, and it is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtGui import QImage, QImageWriter, QPainter
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication

from abd_app.events import AuditFailed, AuditFinished, Measured, RunBegan
from abd_app.gui.look.wording import role_name
from abd_app.gui.main_window import MainWindow
from abd_app.metrics_file import metrics_from_csv
from tests.gui.conftest import AnsweredChooser, StandInEngine
from tests.gui.test_window import make_ready

ROLES = ("teacher", "twin", "student")


@pytest.fixture
def running(window: MainWindow, stand_in: StandInEngine, qapp: QApplication) -> MainWindow:
    """A window whose run has measured nothing yet."""
    make_ready(window, stand_in)
    window.distill()
    qapp.processEvents()
    return window


def _measure(stand_in: StandInEngine, *steps: int) -> None:
    stand_in.say(*(Measured("student", step, 0.3 + 0.1 * step, 100, {"sig": 0.1}, {"sig": 90}) for step in steps))


def test_curves_are_saved_as_picture_drawing_and_table(
    running: MainWindow, stand_in: StandInEngine, chooser: AnsweredChooser, tmp_path: Path
) -> None:
    _measure(stand_in, 1, 2, 3)
    stand_in.say(AuditFinished("out", {}))
    for action, name, start in zip(
        running.live.save_curves.menu().actions(),
        ("curves.png", "curves.svg", "curves.csv"),
        (b"\x89PNG", b"<?xml", b"step,role,accuracy,images,estimated,asr:sig"),
        strict=True,
    ):
        running.banner.hide()
        chooser.answer = str(tmp_path / name)
        action.trigger()
        assert (tmp_path / name).read_bytes().startswith(start)
        assert running.banner.isVisible() and f"Saved {name}" in running.banner.text
    assert len(list(tmp_path.glob("*curves*"))) == len(list(tmp_path.glob(".*curves*"))) + 3 == 3


def test_the_curves_of_a_run_that_goes_on_begin_where_it_began(
    running: MainWindow, stand_in: StandInEngine, tmp_path: Path
) -> None:
    """Also where its twin learns by now, and as estimates where they are such."""
    before = tuple(Measured("student", step, 0.2 * step, 100, {"sig": 0.1}, {"sig": 90}, True) for step in (1, 2, 3))
    twin = Measured("twin", 1, 0.2, 100, {"sig": 0.7}, {"sig": 90}, True)
    assert not running.live.save_curves.isEnabled()
    stand_in.say(RunBegan("out", "resumed", "twin", 0, measured=before))
    assert running.live.save_curves.isEnabled()
    stand_in.say(twin)
    running.live.curves.refresh()
    assert running.live.curves.estimated.isVisible()
    assert "Student: accuracy 40.0 %" in running.live.curves.values_at(2)
    running.live.save(tmp_path / "curves.csv", "csv")
    saved = metrics_from_csv((tmp_path / "curves.csv").read_text())
    assert [(one.role, one.step, one.estimated) for one in saved] == [
        ("student", 1, True),
        ("student", 2, True),
        ("student", 3, True),
        ("twin", 1, True),
    ]
    stand_in.say(AuditFailed("", "", "", "", 4))


@pytest.mark.parametrize("kind", ["png", "svg", "csv"])
def test_a_file_that_cannot_be_written_is_told(
    running: MainWindow, stand_in: StandInEngine, tmp_path: Path, kind: str
) -> None:
    _measure(stand_in, 1)
    path = tmp_path / "no such folder" / f"curves.{kind}"
    running.live.save(path, kind)
    assert "curves could not be saved" in running.banner.text and str(path) in running.banner.text
    stand_in.say(AuditFailed("", "", "", "", 4))


def test_a_picture_that_cannot_be_drawn_is_told_and_what_was_there_stays(
    running: MainWindow, stand_in: StandInEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _measure(stand_in, 1)
    dear = tmp_path / "dear.png"
    dear.write_bytes(b"dear")
    monkeypatch.setattr(QImageWriter, "write", lambda *_: False)
    running.live.save(dear, "png")
    assert "could not be drawn as PNG" in running.banner.text
    assert dear.read_bytes() == b"dear"
    stand_in.say(AuditFailed("", "", "", "", 4))


@pytest.mark.parametrize("name", ["curves-v1.2", "dear.doc"])
def test_the_content_is_of_the_kind_that_was_chosen_whatever_the_name(
    running: MainWindow, stand_in: StandInEngine, tmp_path: Path, name: str
) -> None:
    _measure(stand_in, 1)
    running.live.save(tmp_path / name, "png")
    assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    stand_in.say(AuditFailed("", "", "", "", 4))


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_what_is_saved_beside_another_tab_is_what_its_own_tab_would_show(
    running: MainWindow, stand_in: StandInEngine, tmp_path: Path, kind: str, qapp: QApplication
) -> None:
    def saved() -> bytes:
        running.live.save(tmp_path / "curves", kind)
        running.banner.hide()  # it takes room from the curves
        qapp.processEvents()
        return (tmp_path / "curves").read_bytes()

    running.live.setCurrentWidget(running.live.log)
    qapp.processEvents()
    _measure(stand_in, 1, 2, 3)
    first = saved()
    _measure(stand_in, 4, 5, 6)
    hidden = saved()
    running.live.setCurrentWidget(running.live.curves)
    qapp.processEvents()
    assert first != hidden == saved()
    stand_in.say(AuditFailed("", "", "", "", 4))


def test_there_is_nothing_to_save_before_the_first_measurement(running: MainWindow, stand_in: StandInEngine) -> None:
    button = running.live.save_curves
    assert not button.isEnabled() and "before the first measurement" in button.toolTip()
    _measure(stand_in, 1)
    assert button.isEnabled() and "Save the curves" in button.toolTip()
    stand_in.say(AuditFailed("", "", "", "", 4))
    assert button.isEnabled(), "they are still on the screen"
    running.distill()
    assert not button.isEnabled()
    stand_in.say(AuditFailed("", "", "", "", 4))


def _svg(window: MainWindow) -> str:
    return window.live.curves.picture("svg").decode()


def test_a_picture_has_a_legend_and_whole_titles_and_one_size_whatever_the_window_has(
    running: MainWindow, stand_in: StandInEngine, qapp: QApplication
) -> None:
    long = "/r/" + 8 * "long-name-" + ".png"
    stand_in.say(*(Measured(role, step, 0.5, 100, {long: 0.1}, {long: 90}) for role in ROLES for step in (1, 2)))
    sizes = set()
    for window_px in ((1300, 900), (940, 620)):
        running.resize(*window_px)
        qapp.processEvents()
        before = running.live.curves.grab().toImage()
        sizes.add(QImage.fromData(running.live.curves.picture("png")).size().toTuple())
        drawing = _svg(running)
        assert f"(ASR): {Path(long).name}" in drawing
        assert all(role_name(role) in drawing for role in ROLES)
        assert running.live.curves.grab().toImage() == before, "what is on the screen stays"
    assert sizes == {(2400, 1600)}
    running.live.curves.legend._chips["teacher"].click()
    assert role_name("teacher") not in _svg(running), "what is hidden is not there"
    stand_in.say(AuditFailed("", "", "", "", 4))


def test_a_drawing_and_a_picture_have_the_same_axes(running: MainWindow, stand_in: StandInEngine) -> None:
    _measure(stand_in, 1, 2, 3)
    picture = QImage.fromData(running.live.curves.picture("png")).scaled(1200, 800)
    drawing = QImage(1200, 800, QImage.Format.Format_RGB32)
    painter = QPainter(drawing)
    QSvgRenderer(running.live.curves.picture("svg")).render(painter)
    painter.end()
    assert abs(_inked(picture, 500) - _inked(drawing, 500)) <= 2
    stand_in.say(AuditFailed("", "", "", "", 4))


def _inked(image: QImage, from_px: int) -> int:
    """The lowest row with a number beside the axis of ASR."""
    paper = image.pixelColor(2, 2).lightness()
    rows = [
        y
        for y in range(from_px, image.height())
        if any(abs(image.pixelColor(x, y).lightness() - paper) > 60 for x in range(20, 50))
    ]
    return rows[-1]
