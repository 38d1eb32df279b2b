"""What becomes of a run when its window is to close."""

from __future__ import annotations

import functools
from collections.abc import Callable

from PySide6.QtCore import QObject, Signal

from abd_app.gui.banner import Banner
from abd_app.gui.session import Session
from abd_app.gui.states import State


class Closing(QObject):
    """Asks how to close while a run is on, and closes once the run has ended as was wished; a failure keeps it open."""

    closeWanted = Signal()
    """The run has ended: the window may close now."""

    def __init__(self, session: Session, banner: Banner, parent: QObject) -> None:
        super().__init__(parent)
        self._session, self._banner = session, banner
        self._asks = self._closes = False
        session.stateChanged.connect(self._on_state_changed)
        session.jobFailed.connect(self._stay)

    def may_close(self) -> bool:
        """Whether the window may close at once; if not, how to close is asked in place."""
        if self._session.running and not self._closes:
            self._ask()
        return not self._session.running

    def close_soon(self) -> None:
        """Closes without a question, keeping the run for later if it can go on."""
        session = self._session
        if session.state in (State.STOPPING, State.CANCELLING):
            self._closes = True
        else:
            self._close_after(session.suspend if session.can_suspend else session.cancel)

    def _ask(self) -> None:
        self._asks, session = True, self._session
        later, discard = self.tr("Keep for later and close"), self.tr("Discard and close")
        stop, stay = self.tr("Stop, keep and close"), self.tr("Stay")
        ways = {
            later: (session.suspend, session.can_suspend),
            stop: (session.stop_and_keep, session.can_keep and session.state is not State.CANCELLING),
            discard: (session.cancel, True),
        }
        buttons: dict[str, Callable[[], object]] = {
            label: functools.partial(self._close_after, end_run)
            for label, (end_run, possible) in ways.items()
            if possible
        }
        keeps = self.tr("If you keep it for later, you can continue it from the history.")
        text = keeps if session.can_suspend else self.tr("It has nothing yet from which it could go on later.")
        if session.state in (State.STOPPING, State.CANCELLING):
            text = self.tr("It is ending.")
        title = self.tr("A run is still in progress.")
        self._banner.show_message("warning", title, text, {**buttons, stay: self.stop_asking})
        self._banner.buttons()[stay].setFocus()

    def stop_asking(self) -> None:
        """The window stays, and the run."""
        if self._asks:
            self._asks = False
            self._banner.hide()

    def _close_after(self, end_run: Callable[[], None]) -> None:
        self._closes = True
        self._banner.hide()
        end_run()

    def _stay(self) -> None:
        """A failure is to be read, and it is shown where the question was."""
        self._asks = self._closes = False

    def _on_state_changed(self) -> None:
        if self._session.running:
            return
        self.stop_asking()
        if self._closes:
            self.closeWanted.emit()
