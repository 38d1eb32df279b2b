"""One trigger of the evaluation panel."""

from __future__ import annotations

import dataclasses

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from abd_app.gui.look.card import icon_button, labelled
from abd_app.gui.look.labels import ElidedLabel
from abd_app.gui.look.number_box import NumberBox
from abd_app.gui.look.wording import trigger_name
from abd_app.plan import BUILT_IN_TRIGGERS, POSITIONS, TriggerSpec
from abd_app.text import visible


class TriggerRow(QWidget):
    """Name and remove button; for a picture also its place, opacity and size."""

    removed = Signal()
    edited = Signal(object)
    """The trigger with another position, opacity or scale."""

    def __init__(self, trigger: TriggerSpec) -> None:
        super().__init__()
        self._trigger = trigger
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        line = QHBoxLayout()
        built_in = trigger.name in BUILT_IN_TRIGGERS
        name = ElidedLabel()
        said = str(trigger) if built_in else trigger.name
        name.set_whole_text(trigger_name(said), visible(said))
        self.remove = icon_button("remove", self.tr("Remove the trigger {name}").format(name=name.whole_text))
        self.remove.clicked.connect(self.removed)
        line.addWidget(name, 1)
        line.addWidget(self.remove)
        layout.addLayout(line)
        if not built_in:
            layout.addLayout(self._make_placement())

    def _make_placement(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setSpacing(6)
        self.position = QComboBox()
        for position in POSITIONS:
            self.position.addItem(self._position_name(position), position)
        self.position.setCurrentIndex(POSITIONS.index(self._trigger.position))
        self.opacity = NumberBox(1, 100, suffix=" %")
        self.width_box = NumberBox(1, 100, suffix=" %")
        self.opacity.setValue(100 * (self._trigger.opacity or 1.0))
        self.width_box.setValue(100 * self._trigger.scale)
        self.position.currentIndexChanged.connect(self._on_edited)
        self.opacity.valueChanged.connect(self._on_edited)
        self.width_box.valueChanged.connect(self._on_edited)
        grid.addWidget(labelled(self.tr("Place"), self.position), 0, 0, 1, 2)
        grid.addWidget(labelled(self.tr("Opacity"), self.opacity), 1, 0)
        grid.addWidget(labelled(self.tr("Width"), self.width_box), 1, 1)
        return grid

    def _on_edited(self) -> None:
        self._trigger = dataclasses.replace(
            self._trigger,
            position=self.position.currentData(),
            opacity=self.opacity.value() / 100,
            scale=self.width_box.value() / 100,
        )
        self.edited.emit(self._trigger)

    def _position_name(self, position: str) -> str:
        names = {
            "bottom-right": self.tr("bottom right"),
            "bottom-left": self.tr("bottom left"),
            "top-right": self.tr("top right"),
            "top-left": self.tr("top left"),
            "center": self.tr("centre"),
            "full": self.tr("whole image"),
        }
        return names[position]
