"""How long a run may take: an effort with its estimated time, or a number of minutes or steps."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from abd_app.events import CostEstimated
from abd_app.gui.look.card import labelled
from abd_app.gui.look.choice_box import ChoiceBox
from abd_app.gui.look.number_box import NumberBox
from abd_app.gui.look.wording import duration
from abd_app.gui.setup.draft import Draft
from abd_app.plan import EFFORTS, PURIFIED

_CUSTOM = "custom"
_DEFAULT_MINUTES = 5.0
_DEFAULT_STEPS = 3000
_DECIMALS = {"minutes": 1, "steps": 0}


class BudgetField(QWidget):
    """Edits ``effort``, ``steps`` and ``minutes`` of the draft."""

    def __init__(self, draft: Draft) -> None:
        super().__init__()
        self._draft = draft
        self._cost: CostEstimated | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        self.effort = ChoiceBox(self._effort_names())
        self.amount = NumberBox(0.1, 10_000_000, decimals=1)
        self.amount.setAccessibleName(self.tr("Amount"))
        self.unit = ChoiceBox([("minutes", self.tr("minutes")), ("steps", self.tr("steps"))])
        self.unit.setAccessibleName(self.tr("Unit"))
        self._custom = QWidget()
        line = QHBoxLayout(self._custom)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.amount, 1)
        line.addWidget(self.unit, 1)
        layout.addWidget(labelled(self.tr("Effort"), self.effort))
        layout.addWidget(self._custom)
        self.effort.chosen.connect(self._on_effort_chosen)
        self.unit.chosen.connect(self._on_unit_chosen)
        self.amount.valueChanged.connect(self._on_amount_changed)
        draft.replaced.connect(self._show)
        draft.changed.connect(self._on_changed)
        self._show()

    def show_cost(self, cost: CostEstimated | None) -> None:
        """Shows the estimated time of each effort."""
        self._cost = cost
        self.effort.offer(self._effort_names())
        self._show()

    def seconds(self) -> float | None:
        """The expected time for one model; ``None`` if nobody has measured."""
        if self._draft["minutes"] is not None:
            return float(self._draft["minutes"]) * 60
        cost = self._cost
        if self._draft["student"] == PURIFIED or cost is None:
            return None
        if self._draft["steps"] is not None:
            return _seconds_of_steps(cost, int(self._draft["steps"]))
        effort = self._draft["effort"]
        return cost.seconds.get(cost.effort if effort == "auto" else effort)

    def _effort_names(self) -> list[tuple[str, str]]:
        names = {
            "auto": self.tr("Automatic"),
            "quick": self.tr("Quick"),
            "standard": self.tr("Standard"),
            "paper": self.tr("As in the paper"),
        }
        offered = []
        cost = self._cost
        for effort in EFFORTS:
            meant = cost.effort if effort == "auto" and cost is not None else effort
            seconds = cost.seconds.get(meant) if cost is not None else None
            name = (
                names[effort] if meant == effort else self.tr("Automatic: {effort}").format(effort=names[meant].lower())
            )
            about = self.tr(", about {time}").format(time=duration(seconds)) if seconds else ""
            offered.append((effort, name + about))
        return [*offered, (_CUSTOM, self.tr("Own limit"))]

    def _show(self) -> None:
        minutes, steps = self._draft["minutes"], self._draft["steps"]
        custom = minutes is not None or steps is not None
        self.effort.show_value(_CUSTOM if custom else self._draft["effort"])
        self._custom.setVisible(custom)
        if custom:
            unit, amount = ("minutes", minutes) if minutes is not None else ("steps", steps)
            self.unit.show_value(unit)
            if (self.amount.decimals(), self.amount.value()) != (_DECIMALS[unit], amount):  # else it may be being typed
                with QSignalBlocker(self.amount):
                    self.amount.setDecimals(_DECIMALS[unit])
                    self.amount.setValue(amount)

    def _on_changed(self) -> None:
        self.effort.offer(self._effort_names())
        self._show()

    def _on_effort_chosen(self, value: str) -> None:
        if value == _CUSTOM:
            self._draft.choose(minutes=_DEFAULT_MINUTES, steps=None)
        else:
            self._draft.choose(effort=value, minutes=None, steps=None)
        self._show()

    def _on_unit_chosen(self, unit: str) -> None:
        """A number of minutes means nothing as a number of steps: the other unit begins with its own."""
        chosen = "minutes" if self._draft["minutes"] is not None else "steps"
        if unit == chosen:
            return
        if unit == "minutes":
            self._draft.choose(minutes=_DEFAULT_MINUTES, steps=None)
        else:
            self._draft.choose(minutes=None, steps=_DEFAULT_STEPS)
        self._show()

    def _on_amount_changed(self) -> None:
        if self.unit.value == "minutes":
            self._draft.choose(minutes=self.amount.value(), steps=None)
        else:
            self._draft.choose(minutes=None, steps=max(1, round(self.amount.value())))
        self._show()


def _seconds_of_steps(cost: CostEstimated, steps: int) -> float | None:
    """On the line through two efforts: something is done once, the rest at every step."""
    known = sorted((cost.steps[effort], seconds) for effort, seconds in cost.seconds.items() if effort in cost.steps)
    if len(known) < 2 or known[0][0] == known[1][0]:
        return None
    (few, least), (many, most) = known[:2]
    return max(0.0, least + (most - least) * (steps - few) / (many - few))
