"""What the plan's fields say of what is chosen."""

from __future__ import annotations

from abd_app.events import DevicesListed
from abd_app.gui.look.choice_box import ChoiceBox
from abd_app.gui.main_window import MainWindow
from abd_app.plan import AuditPlan
from tests.gui.conftest import StandInEngine
from tests.gui.test_budget import choose


def test_a_device_that_is_not_on_this_machine_is_shown_as_chosen(window: MainWindow, stand_in: StandInEngine) -> None:
    device = window.setup.plan.device
    window.draft.replace(AuditPlan("", "", device="cuda"))
    assert (device.value, device.currentText()) == ("cuda", "cuda"), "nobody knows yet"
    stand_in.say(DevicesListed((("cpu", "CPU", 0),)), job=0)
    assert (device.value, device.currentText()) == ("cuda", "cuda, not on this machine")
    choose(device, "cpu")
    assert window.draft["device"] == "cpu"
    window.draft.replace(AuditPlan("", ""))
    assert [device.itemText(index) for index in range(device.count())] == ["Automatic", "CPU"]


def test_what_a_box_does_not_offer_is_not_shown_as_something_else(qapp: object) -> None:
    box = ChoiceBox([("a", "An A"), ("b", "A B")])
    box.show_value("c")
    assert (box.value, box.currentText()) == ("c", "c")
    box.show_value("b")
    assert (box.value, box.currentText()) == ("b", "A B")


def test_what_is_off_for_a_purified_teacher_says_why(window: MainWindow) -> None:
    panel = window.setup.plan
    choose(panel.student, "purified")
    for widget in (panel.budget, panel.compare):
        assert not widget.isEnabled() and "itself is purified" in widget.toolTip()
    choose(panel.student, "wrn-16-1")
    assert panel.budget.toolTip() == "" and "shows the danger" in panel.compare.toolTip()
