"""The evaluation panel: every built-in trigger can be chosen by a name that people read, and so can all-to-all."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QLabel, QToolButton

from abd_app.events import AuditFailed, AuditFinished, FindingMade, ImagesInspected, Measured, TeacherInspected
from abd_app.gui.look.theme import Theme
from abd_app.gui.look.wording import rates_text, trigger_name
from abd_app.gui.main_window import MainWindow
from abd_app.gui.setup.trigger_row import TriggerRow
from abd_app.gui.states import State
from abd_app.plan import BUILT_IN_TRIGGERS, POSITIONS, AuditPlan, TeacherFacts, TriggerSpec
from abd_app.teacher import Finding
from abd_app.worker.messages import ImagesJob, InspectionFinished, InspectJob
from tests.gui.conftest import StandInEngine
from tests.gui.fake_runner import card
from tests.gui.test_window import make_ready


def test_every_built_in_trigger_is_offered_with_a_readable_name(window: MainWindow, stand_in: StandInEngine) -> None:
    make_ready(window, stand_in)
    evaluation = window.setup.evaluation
    actions = evaluation.add_trigger.menu().actions()[: len(BUILT_IN_TRIGGERS)]
    for action, name in zip(actions, BUILT_IN_TRIGGERS, strict=True):
        assert action.text() == trigger_name(name) and action.text().endswith(f" ({name})")
        action.trigger()
    assert [trigger.name for trigger in window.draft["triggers"]] == list(BUILT_IN_TRIGGERS)


def test_a_picture_can_be_there_in_variants_each_edited_and_removed_alone(
    window: MainWindow, stand_in: StandInEngine
) -> None:
    make_ready(window, stand_in)
    evaluation, picture = window.setup.evaluation, TriggerSpec("/my/cat.png")

    def rows() -> list[TriggerRow]:
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
        return evaluation.findChildren(TriggerRow)

    evaluation.add_triggers(picture, picture)
    rows()[0].position.setCurrentIndex(POSITIONS.index("center"))
    evaluation.add_triggers(picture)
    assert [one.position for one in window.draft["triggers"]] == ["center", "bottom-right"]
    rows()[1].position.setCurrentIndex(POSITIONS.index("full"))
    assert [one.position for one in window.draft["triggers"]] == ["center", "full"]
    rows()[0].remove.click()
    assert [one.position for one in window.draft["triggers"]] == ["full"]


def test_a_measured_trigger_is_shown_without_folders(window: MainWindow, stand_in: StandInEngine) -> None:
    keys = ("/my/cat.png,position=center", "badnets-grid")
    assert rates_text(dict.fromkeys(keys, 0.5)) == "ASR cat.png,position=center 50.0 %, ASR badnets-grid 50.0 %"
    assert trigger_name("/my/cat.png,position=center") == "cat.png,position=center"
    assert trigger_name("badnets-grid,opacity=0.5") == "BadNets grid (badnets-grid,opacity=0.5)"
    make_ready(window, stand_in)
    window.distill()
    stand_in.say(Measured("teacher", 0, 0.9, 9, dict.fromkeys(keys, 0.5), dict.fromkeys(keys, 9)))
    window.live.curves.refresh()
    chips = [chip.text() for chip in window.live.curves.legend.findChildren(QToolButton)]
    assert {"cat.png,position=center", "badnets-grid"} <= set(chips)


def test_all_to_all_reaches_the_plan_and_a_class_comes_back(window: MainWindow, stand_in: StandInEngine) -> None:
    make_ready(window, stand_in)
    evaluation = window.setup.evaluation
    evaluation.target.setValue(2)
    evaluation.all_to_all.setChecked(True)
    assert window.draft.plan("t.pth", TeacherFacts()).target_class == "all"
    assert not evaluation.target.isEnabled()
    evaluation.all_to_all.setChecked(False)
    assert window.draft.plan("t.pth", TeacherFacts()).target_class == 2
    assert evaluation.target.isEnabled()


def test_a_warning_about_the_images_stands_beside_them_until_there_are_others(
    window: MainWindow, stand_in: StandInEngine, theme: Theme, tmp_path: Path
) -> None:
    make_ready(window, stand_in, str(tmp_path / "t.pth"))
    evaluation = window.setup.evaluation

    def shown() -> list[str]:
        return [label.text() for label in evaluation.findChildren(QLabel) if label.isVisible() and label.text()]

    evaluation.choose_data(str(tmp_path / "images"))
    window.distill()
    stand_in.say(
        FindingMade(Finding("warning", "Shuffling Vaccine is off")),
        FindingMade(Finding("warning", "Other classes", "In sorted order."), about_images=True),
        FindingMade(Finding("info", "3 of 6 are used"), about_images=True),
    )
    assert {"Other classes", "In sorted order."} < set(shown())
    title = next(label for label in evaluation.findChildren(QLabel) if label.text() == "Other classes")
    title.ensurePolished()
    assert not title.isEnabled() and title.palette().color(title.foregroundRole()).name() == theme.colours.text, (
        "legible"
    )
    assert not {"3 of 6 are used", "Shuffling Vaccine is off"} & set(shown())
    stand_in.say(AuditFinished(str(tmp_path), {}))
    assert "Other classes" in shown(), "after the run, too"
    evaluation.choose_data(str(tmp_path / "others"))
    assert "Other classes" not in shown()


def _titles(window: MainWindow) -> set[str]:
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    return {label.text() for label in window.setup.evaluation._findings.findChildren(QLabel) if label.text()}


def test_the_chosen_images_are_described_before_a_run(window: MainWindow, stand_in: StandInEngine) -> None:
    make_ready(window, stand_in, "t.pth")
    evaluation, note = window.setup.evaluation, window.setup.evaluation._note
    evaluation.choose_data("/my/images")
    job = stand_in.jobs[-1]
    assert isinstance(job, ImagesJob) and job.path == "/my/images" and not note.isVisible()
    assert window.setup._estimate.text() == "about 2 min", "it stays"
    small = Finding("warning", "Evaluation images have another size", "The first one is 16 x 16 pixels.")
    stand_in.say(ImagesInspected("/my/images", 12_000, 10, 16, 16, findings=(small,)), InspectionFinished())
    assert note.text() == "12,000 images of all 10 classes, the first one 16 × 16 pixels"
    assert small.title in _titles(window)
    evaluation.choose_data("/my/images.npz")
    assert not note.isVisible() and not _titles(window), "it was said of others"
    evaluation.show_images(ImagesInspected("/my/images", 5, 5, 8, 8))
    assert not note.isVisible(), "still of others"
    stand_in.say(ImagesInspected("/my/images.npz", 9, 2, 16, 16, alike=True), InspectionFinished())
    assert note.text() == "9 images of 2 of 10 classes, 16 × 16 pixels"


def test_what_was_seen_of_images_and_what_a_run_says_of_them_stand_together(
    window: MainWindow, stand_in: StandInEngine
) -> None:
    make_ready(window, stand_in, "t.pth")
    evaluation = window.setup.evaluation
    evaluation.choose_data("/my/images")
    size, order = (Finding("warning", f"Evaluation images have another {what}", "Seen.") for what in ("size", "order"))
    stand_in.say(ImagesInspected("/my/images", 9, 2, 16, 16, findings=(size, order)), InspectionFinished())
    window.distill()
    assert evaluation._note.text().startswith("9 images") and {size.title, order.title} <= _titles(window)
    stand_in.say(FindingMade(dataclasses.replace(size, detail="9 of 9 were resized."), about_images=True))
    assert {size.title, order.title, "9 of 9 were resized.", "Seen."} == _titles(window), "each once"
    stand_in.say(AuditFailed("It failed.", "there", "because", "do this", 4))
    assert {size.title, order.title} <= _titles(window)
    stand_in.say(ImagesInspected("/my/images", 9, 2, 16, 16))
    assert size.title in _titles(window) and order.title not in _titles(window)


def test_images_that_cannot_be_used_are_said_to_be_so_at_once(window: MainWindow, stand_in: StandInEngine) -> None:
    make_ready(window, stand_in, "t.pth")
    evaluation = window.setup.evaluation
    evaluation.choose_data("/my/images")
    refused = Finding("danger", "The labels run from 0 to 12.", "Count classes from 0; or correct --classes.")
    told = ImagesInspected("/my/images", 0, 0, 0, 0, findings=(refused,))
    stand_in.say(told, InspectionFinished())
    assert refused.title in _titles(window) and not evaluation._note.isVisible() and window.session.can_start
    assert "Count classes from 0; or correct “Teacher, classes”." in _titles(window)
    evaluation.choose_data("/my/images")
    assert refused.title not in _titles(window) and len(stand_in.jobs) == 3, "perhaps they are mended"
    stand_in.say(told, InspectionFinished())
    evaluation.choose_data("")
    assert evaluation._note.text().startswith("Without them") and not _titles(window)


def test_a_run_on_images_that_cannot_be_used_is_not_begun(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path
) -> None:
    """It would fail, and what the last run has left would be gone from the screen."""
    make_ready(window, stand_in, "t.pth")
    window.distill()
    stand_in.say(AuditFinished(str(tmp_path), {}))
    window.setup.evaluation.choose_data("/my/images")
    refused = Finding("danger", "The folder of images has no class folders.", "Each class needs a sub-folder.")
    stand_in.say(ImagesInspected("/my/images", 0, 0, 0, 0, findings=(refused,)), InspectionFinished())
    looked = len(stand_in.jobs)
    window.distill()
    assert window.session.state is State.FINISHED and window.banner.isVisible()
    said = " ".join(label.text() for label in window.banner.findChildren(QLabel))
    assert refused.title in said and refused.detail in said and "Evaluation, labelled images: /my/images" in said
    assert len(stand_in.jobs) == looked + 1 and isinstance(stand_in.jobs[-1], ImagesJob), "it is looked again"
    stand_in.say(ImagesInspected("/my/images", 9, 2, 16, 16), InspectionFinished())
    window.distill()
    assert window.session.running


def test_what_images_are_to_one_teacher_is_not_said_for_the_next(window: MainWindow, stand_in: StandInEngine) -> None:
    make_ready(window, stand_in, "t.pth")
    evaluation = window.setup.evaluation
    evaluation.choose_data("/my/images")
    small = Finding("warning", "Evaluation images have another size", "The first one is 16 x 16 pixels.")
    stand_in.say(ImagesInspected("/my/images", 12_000, 10, 16, 16, findings=(small,)), InspectionFinished())
    window.opening.open_file("/my/next.pth")
    assert not evaluation._note.isVisible() and not _titles(window)
    job = stand_in.jobs[-1]
    assert isinstance(job, InspectJob) and job.choices.data == "/my/images", "they are looked at for it"


def test_a_plan_with_all_to_all_is_shown_as_it_is(window: MainWindow, stand_in: StandInEngine) -> None:
    make_ready(window, stand_in)
    window.draft.replace(AuditPlan("", "", target_class="all"))
    evaluation = window.setup.evaluation
    assert evaluation.all_to_all.isChecked() and not evaluation.target.isEnabled()
    assert window.draft["target_class"] == "all"
    window.draft.replace(AuditPlan("", "", target_class=1))
    assert not evaluation.all_to_all.isChecked() and evaluation.target.value() == 1
    assert window.draft["target_class"] == 1


def test_the_attackers_class_is_never_changed_by_a_teacher(window: MainWindow, stand_in: StandInEngine) -> None:
    """Of a run that is repeated or continued it is that run's, whatever teacher was open before."""
    make_ready(window, stand_in)
    evaluation = window.setup.evaluation
    window.opening.repeat(AuditPlan("large.pth", "", target_class=500))
    assert (window.draft["target_class"], evaluation.target.value()) == (500, 500)
    large = dataclasses.replace(card("large.pth", TeacherFacts()), num_classes=1000)
    stand_in.say(TeacherInspected(large), InspectionFinished())
    assert window.draft["target_class"] == 500 and not evaluation._target_name.isVisible()
    make_ready(window, stand_in, "small.pth")
    assert (window.draft["target_class"], evaluation.target.value()) == (500, 500)
    assert evaluation._target_name.text() == "This teacher has classes 0 to 9"
    evaluation.target.setValue(9)
    assert window.draft["target_class"] == 9 and evaluation._target_name.text() == "sign 9"
