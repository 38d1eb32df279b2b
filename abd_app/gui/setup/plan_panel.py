"""Plan: how to distil, how long, where; the rarely needed choices behind a fold."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox

from abd_app.events import CostEstimated, DevicesListed
from abd_app.gui.file_chooser import FileChooser
from abd_app.gui.look.card import Card, Fold, icon_button, labelled
from abd_app.gui.look.choice_box import ChoiceBox
from abd_app.gui.look.labels import plain_label
from abd_app.gui.look.wording import byte_size
from abd_app.gui.setup.advanced_plan import AdvancedPlan
from abd_app.gui.setup.budget_field import BudgetField
from abd_app.gui.setup.draft import Draft
from abd_app.plan import METHODS, PURIFIED, STUDENTS
from abd_app.text import visible


class PlanPanel(Card):
    """Edits the draft: method, student, budget, device, twin; the rest is in :class:`AdvancedPlan`."""

    copyCommandRequested = Signal()

    def __init__(self, draft: Draft, chooser: FileChooser) -> None:
        super().__init__(self.tr("Plan"), "distill")
        self._draft = draft
        self._cost: CostEstimated | None = None
        self._devices: list[tuple[str, str]] = []
        self.copy_command = icon_button("command", self.tr("Copy as command"))
        self.copy_command.clicked.connect(self.copyCommandRequested)
        self.header.addWidget(self.copy_command)
        self.method = ChoiceBox((name, self._method_name(name)) for name in METHODS)
        self._reason = plain_label(role="small", wrap=True)
        self.student = ChoiceBox((name, self._student_name(name)) for name in STUDENTS)
        self.budget = BudgetField(draft)
        self.device = ChoiceBox()
        self.compare = QCheckBox(self.tr("Also train an undefended twin"))
        self.advanced = AdvancedPlan(draft, chooser)
        self.fold = Fold(self.tr("Advanced"), self.advanced)
        for widget in (
            labelled(self.tr("Images from"), self.method),
            self._reason,
            labelled(self.tr("Student"), self.student),
            self.budget,
            labelled(self.tr("Device"), self.device),
            self.compare,
            self.fold,
        ):
            self.body.addWidget(widget)
        self.method.chosen.connect(lambda value: self._choose(method=value))
        self.student.chosen.connect(self._choose_student)
        self.device.chosen.connect(lambda value: self._choose(device=value))
        self.compare.toggled.connect(lambda value: self._choose(compare=value))
        draft.replaced.connect(self._show)
        self._show()

    def show_cost(self, cost: CostEstimated | None) -> None:
        """Shows what ``auto`` would choose and what each effort costs."""
        self._cost = cost
        self.budget.show_cost(cost)
        self._show_automatic()

    def show_devices(self, event: DevicesListed) -> None:
        """Offers the devices of this machine."""
        self._devices = []
        for value, name, free_bytes in event.devices:
            free = self.tr(" · {size} free").format(size=byte_size(free_bytes)) if free_bytes else ""
            self._devices.append((value, visible(name) + free))
        self._show_device()

    def _show_device(self) -> None:
        """The plan of another machine may want a device that is not here."""
        chosen = self._draft["device"]
        names = [("auto", self.tr("Automatic")), *self._devices]
        if self._devices and chosen not in dict(names):
            names.append((chosen, self.tr("{device}, not on this machine").format(device=chosen)))
        self.device.offer(names)
        self.device.show_value(chosen)

    def _choose(self, **choices: object) -> None:
        self._draft.choose(**choices)
        self._show_reason()

    def _choose_student(self, student: str) -> None:
        """A purified teacher is not distilled: it has no twin and no steps."""
        without = {"compare": False, "effort": "auto", "steps": None, "minutes": None} if student == PURIFIED else {}
        self._choose(student=student, **without)
        self._show_automatic()
        self._show()
        self.budget.show_cost(self._cost)

    def _show(self) -> None:
        distils = self._draft["student"] != PURIFIED
        self.budget.setEnabled(distils)
        self.budget.setToolTip("" if distils else self.tr("The teacher itself is purified: no student learns."))
        self.compare.setEnabled(distils)
        self.compare.setToolTip(
            self.tr("Same budget, no defence: it shows the danger. Doubles the time.")
            if distils
            else self.tr("The teacher itself is purified. What it is without a defence is measured anyway.")
        )
        self.method.show_value(self._draft["method"])
        self.student.show_value(self._draft["student"])
        self._show_device()
        self.compare.setChecked(self._draft["compare"])
        self._show_reason()

    def _automatic(self) -> tuple[str, str]:
        """What ``auto`` would choose and why; empty while nobody knows."""
        if self._cost is None:
            return "", ""
        purifies = self._draft["student"] == PURIFIED
        return (self._cost.to_purify if purifies else None) or (self._cost.method, self._cost.reason)

    def _show_automatic(self) -> None:
        self.method.offer((name, self._method_name(name)) for name in METHODS)
        self._show_reason()

    def _show_reason(self) -> None:
        reason = visible(self._automatic()[1]) if self.method.value == "auto" else ""
        self._reason.setText(reason)
        self._reason.setVisible(bool(reason))

    def _method_name(self, method: str) -> str:
        names = {
            "auto": self.tr("Automatic"),
            "cmi": self.tr("Contrastive inversion of the teacher (cmi)"),
            "fast": self.tr("Inversion of the teacher (fast)"),
            "ood": self.tr("Patches of unrelated pictures (ood)"),
            "zskt": self.tr("Adversarial generator (zskt)"),
        }
        if method == "auto" and (automatic := self._automatic()[0]):
            return self.tr("Automatic: {method}").format(method=automatic)
        return names[method]

    def _student_name(self, student: str) -> str:
        names = {
            "auto": self.tr("Automatic"),
            "wrn-16-1": "WRN-16-1",
            "wrn-16-2": "WRN-16-2",
            "wrn-40-1": "WRN-40-1",
            "wrn-40-2": "WRN-40-2",
            "resnet18-cifar": "ResNet-18 (small images)",
            "resnet18-imagenet": "ResNet-18",
            "mobilenetv3-small": "MobileNetV3-small",
            "purified": self.tr("None: purify the teacher"),
        }
        return names.get(student, student)
