"""The menu of the window and its keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMainWindow, QMenu

from abd_app.gui.look import icons
from abd_app.gui.look.wording import tooltip
from abd_app.gui.session import Session
from abd_app.gui.states import State
from abd_app.text import distinct_file_names, visible


@dataclass(frozen=True)
class Actions:
    """Every action of the window; the window decides which are enabled."""

    open: QAction
    demo: QAction
    recent: QMenu
    quit: QAction
    distill: QAction
    pause: QAction
    stop: QAction
    cancel: QAction
    copy_command: QAction
    export: QAction
    report: QAction
    folder: QAction
    history: QAction
    settings: QAction
    help: QAction

    def enable_for(self, session: Session, *, with_demo: bool) -> None:
        """Enables what makes sense in the state of the session."""
        for opening in (self.open, self.recent, self.demo):
            opening.setEnabled(not session.running)
        self.demo.setVisible(with_demo)
        self.distill.setEnabled(session.can_start)
        self.copy_command.setEnabled(session.card is not None)
        going_on = session.state in (State.RUNNING, State.PAUSED)
        self.pause.setEnabled(going_on)
        self.stop.setEnabled(going_on and session.can_keep)
        self.cancel.setEnabled(session.running and session.state is not State.CANCELLING)
        for action in (self.export, self.report, self.folder):
            action.setEnabled(session.state is State.FINISHED)


def make_actions(window: QMainWindow) -> Actions:
    """Fills the menu bar of ``window``."""
    titles = (_tr("&File"), _tr("&Run"), _tr("R&esult"), _tr("&Help"))
    file, run, result, more = (window.menuBar().addMenu(title) for title in titles)
    opened = _add(file, _tr("&Open a teacher…"), "Ctrl+O", "open")
    recent = file.addMenu(_tr("Open &recent"))
    demo = _add(file, _tr("Open the &demo teacher"), "", "demo")
    file.addSeparator()
    history = _add(file, _tr("&History…"), "Ctrl+H", "history")
    settings = _add(file, _tr("&Settings…"), "Ctrl+,", "settings")
    file.addSeparator()
    quitting = _add(file, _tr("&Quit"), "Ctrl+Q", "close")
    distill = _add(run, _tr("&Distill safely"), "Ctrl+Return", "distill")
    run.addSeparator()
    # The window itself reads Space, because a shortcut would take it away from focused buttons.
    pause = _add(run, _tr("&Pause or resume") + "\t" + _tr("Space"), "", "pause")
    stop = _add(run, _tr("&Stop and keep"), "", "stop")
    cancel = _add(run, _tr("&Cancel…"), "", "cancel")
    run.addSeparator()
    copy_command = _add(run, _tr("Copy as c&ommand"), "", "command")
    results = _result_actions(result)
    helping = _add(more, _tr("&Help"), "F1", "question")
    return Actions(
        opened,
        demo,
        recent,
        quitting,
        distill,
        pause,
        stop,
        cancel,
        copy_command,
        *results,
        history,
        settings,
        helping,
    )


def _result_actions(menu: QMenu) -> tuple[QAction, QAction, QAction]:
    """Export, report and folder."""
    return (
        _add(menu, _tr("&Export ONNX…"), "Ctrl+E", "export"),
        _add(menu, _tr("Save &report…"), "", "report"),
        _add(menu, _tr("Open &folder"), "", "folder"),
    )


def fill_recent(menu: QMenu, files: list[str], open_file: Callable[[str], None], forget: Callable[[], None]) -> None:
    """Shows the files opened before, newest first."""
    menu.clear()
    menu.setToolTipsVisible(True)
    for file, name in zip(files, distinct_file_names(files), strict=True):
        # An ampersand in a name is not a key.
        action = menu.addAction(name.replace("&", "&&"))
        action.setToolTip(tooltip(visible(file)))
        action.triggered.connect(lambda _=False, file=file: open_file(file))
    if files:
        menu.addSeparator()
        menu.addAction(_tr("Forget these"), forget)
    else:
        menu.addAction(_tr("No files yet")).setEnabled(False)


def _add(menu: QMenu, text: str, keys: str, meaning: str) -> QAction:
    action = menu.addAction(text)
    if keys:
        action.setShortcut(QKeySequence(keys))
    icons.put(action, meaning, "muted")
    return action


def _tr(text: str) -> str:
    return QCoreApplication.translate("actions", text)
