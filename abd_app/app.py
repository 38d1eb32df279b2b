"""Composition root of the window: makes the parts, hands them to each other, runs, and cleans up."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
from types import FrameType

from PySide6.QtCore import QSocketNotifier, QTimer
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QApplication

from abd_app import __version__
from abd_app.assets import asset
from abd_app.demo import demo_plan
from abd_app.gui.engine_thread import EngineThread
from abd_app.gui.folders import log_file, settings_file
from abd_app.gui.log_file import start_log
from abd_app.gui.look.theme import Theme
from abd_app.gui.main_window import MainWindow
from abd_app.gui.session import Session
from abd_app.gui.settings import Settings
from abd_app.worker.engine import TORCH_RUNNER

_LONGEST_END_MS = 8_000
"""What a system that shuts down leaves a program, less some."""


def main(file: str | None = None, *, demo: bool = False, runner: str = TORCH_RUNNER) -> int:
    """Shows the window until it is closed.

    Args:
        file: The teacher file to open; ``None``: an empty window.
        demo: Open the demo teacher instead, ready for the click.
        runner: Dotted name of the module that does the work in the engine child.

    Returns:
        The exit code of the process.
    """
    app = QApplication.instance() or QApplication(sys.argv[:1])
    if not isinstance(app, QApplication):
        raise TypeError("the application in this process has no window system")
    app.setApplicationName("abd-app")
    app.setApplicationDisplayName("ABD App")
    app.setApplicationVersion(__version__)
    app.setWindowIcon(QIcon(str(asset("icons/abd-app.svg"))))
    log = log_file()
    start_log(log)
    logging.getLogger(__name__).info("ABD App %s", __version__)
    settings = Settings(settings_file())
    theme = Theme(app, settings.theme, settings.font_scale)
    engine = EngineThread(runner)
    window = MainWindow(Session(engine), settings, theme, log=log, demo=demo_plan)
    window.show()
    settle()
    quit_signal = _QuitOnSignal(app, window)
    engine.start()
    if demo:
        window.open_demo()
    elif file is not None:
        window.open_file(file)
    try:
        return app.exec()
    finally:
        quit_signal.close()
        engine.close()


def settle() -> None:
    """Takes what the start has made out of the garbage collector's sight: a full collection of it stalls the window."""
    gc.freeze()


class _QuitOnSignal:
    """Ctrl+C and a polite kill close the window, so that the engine is ended too; a run is kept for later.

    A second signal, or too long an end of the run, ends the event loop whatever is on.
    """

    def __init__(self, app: QApplication, window: MainWindow) -> None:
        # Python runs signal handlers only between its own instructions; the socket wakes the event loop for them.
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)
        self._before = {number: signal.signal(number, self._quit) for number in (signal.SIGINT, signal.SIGTERM)}
        self._fd_before = signal.set_wakeup_fd(self._writer.fileno())
        self._notifier = QSocketNotifier(self._reader.fileno(), QSocketNotifier.Type.Read)
        self._notifier.activated.connect(self._on_woken)
        self._app, self._window, self._comes_again = app, window, False

    def close(self) -> None:
        """Puts the handlers back."""
        self._notifier.setEnabled(False)
        signal.set_wakeup_fd(self._fd_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()

    def _on_woken(self) -> None:
        self._reader.recv(64)

    def _quit(self, number: int, frame: FrameType | None) -> None:
        if self._comes_again or not self._window.session.running:
            self._app.exit(0)
            return
        self._comes_again = True
        self._window.closing.close_soon()
        QTimer.singleShot(_LONGEST_END_MS, lambda: self._app.exit(0))
