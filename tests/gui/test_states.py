"""Every state of the window renders, with the script that makes the screenshots."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication, QLabel

from abd_app.events import AuditFailed
from abd_app.gui.look.theme import Theme

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

import make_screenshots
from window_states import STATES


@pytest.fixture
def dark_theme(theme: Theme) -> Iterator[Theme]:
    theme.choose("dark")
    yield theme
    theme.choose("light")


@pytest.mark.parametrize("name", STATES)
def test_every_state_renders(name: str, theme: Theme, tmp_path: Path) -> None:
    make_screenshots.render(theme, name, "1024x700", tmp_path)
    (picture,) = tmp_path.glob("*.png")
    assert picture.stat().st_size > 10_000


def test_dark_is_dark_and_light_is_light(theme: Theme, dark_theme: Theme, tmp_path: Path) -> None:
    from PySide6.QtGui import QImage

    make_screenshots.render(dark_theme, "running-distilling", "1024x700", tmp_path)
    dark = QImage(str(tmp_path / "running-distilling-dark-1024x700.png"))
    theme.choose("light")
    make_screenshots.render(theme, "running-distilling", "1024x700", tmp_path)
    light = QImage(str(tmp_path / "running-distilling-light-1024x700.png"))
    for x, y in ((4, 400), (200, 692), (4, 10), (1000, 560)):
        assert dark.pixelColor(x, y).lightness() < 90
        assert light.pixelColor(x, y).lightness() > 200


def test_dialogs_render(theme: Theme, tmp_path: Path, qapp: QApplication) -> None:
    make_screenshots.render_dialogs(theme, tmp_path)
    assert len(list(tmp_path.glob("*.png"))) == 5


def test_a_phase_without_steps_shows_how_far_it_is(theme: Theme, tmp_path: Path) -> None:
    stage = make_screenshots.Stage(theme, (1024, 700), tmp_path)
    try:
        STATES["running-first-images"](stage)
        QApplication.processEvents()
        stage.window.run_bar.refresh()
        assert stage.window.run_bar.phase.text() == "Labelling the first images"
        assert stage.window.run_bar._run_facts().startswith("42 %")
    finally:
        stage.engine.play(AuditFailed("", "", "", "", 4))
        stage.window.close()
        stage.window.deleteLater()
        QApplication.processEvents()


@pytest.mark.parametrize("state", ["finished-several-triggers", "finished-little", "finished-classes"])
def test_in_a_low_window_with_large_text_the_result_is_whole_and_the_curves_are_scrolled_to(
    theme: Theme, tmp_path: Path, qapp: QApplication, state: str
) -> None:
    before = (theme.name, theme.scale)
    theme.choose(scale=1.5)
    stage = make_screenshots.Stage(theme, make_screenshots.SIZES["1024x700"], tmp_path)
    try:
        STATES[state](stage)
        for _ in range(5):
            qapp.processEvents()
        result, live = stage.window.result, stage.window.live
        assert result.height() >= result.heightForWidth(result.width()), "no number is cut off"
        sentence = result.sentence
        assert sentence.height() >= sentence.heightForWidth(sentence.width()), "nor is a word"
        buttons = (result.export, result.save_report, result.open_folder, result.compare)
        assert all(button.width() >= button.sizeHint().width() for button in buttons)
        assert live.height() >= 15 * live.fontMetrics().height(), "curves that can be read"
    finally:
        stage.engine.play(AuditFailed("", "", "", "", 4))
        stage.window.close()
        theme.choose(*before)


def test_under_a_long_message_the_three_acts_are_scrolled_to(theme: Theme, tmp_path: Path, qapp: QApplication) -> None:
    before = (theme.name, theme.scale)
    theme.choose(scale=1.5)
    stage = make_screenshots.Stage(theme, make_screenshots.SIZES["1024x700"], tmp_path)
    try:
        STATES["refused"](stage)
        for _ in range(5):
            qapp.processEvents()
        for label in stage.window.welcome.findChildren(QLabel):
            if label.isVisible() and label.wordWrap():
                assert label.height() >= label.heightForWidth(label.width()), label.text()
    finally:
        stage.window.close()
        theme.choose(*before)
