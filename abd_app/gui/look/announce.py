"""What appears by itself, told to who listens to the screen."""

from __future__ import annotations

from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent
from PySide6.QtWidgets import QWidget


def announce(place: QWidget, text: str, *, urgent: bool = False) -> None:
    """Has a screen reader say a text that appeared without the focus going there.

    Args:
        place: The window that it is in tells it.
        text: What is said.
        urgent: It does not wait until what is being said has been said.
    """
    event = QAccessibleAnnouncementEvent(place.window(), text)
    kinds = QAccessible.AnnouncementPoliteness
    event.setPoliteness(kinds.Assertive if urgent else kinds.Polite)
    QAccessible.updateAccessibility(event)
