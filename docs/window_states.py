"""Every state of the window, played on the real widgets with made-up events."""

from __future__ import annotations

from collections.abc import Callable

from made_up_run import FINDINGS, QUESTIONS, RUN_FINDINGS, STEPS, card
from PySide6.QtWidgets import QApplication
from stage import FILE, IMAGES, Stage

from abd_app.events import AuditFailed, AuditFinished, FindingMade, PhaseAdvanced, PhaseStarted, StudentExported
from abd_app.gui.live.curves import CurveKey
from abd_app.plan import AuditPlan, TriggerSpec
from abd_app.worker.failure import failure_of_exit
from abd_app.worker.messages import PauseChanged

LOST = {"teacher": 0.0, "student": 0.21, "twin": 0.02}
"""Accuracy that each lost of class 2, made up."""
LONG_FILE = "/home/ada/models/модель дорожных знаков – final version (2) really final, downloaded and renamed.pth"


def finish(stage: Stage, *, triggers: tuple[str, ...], caution: str = "info", advice: str = "") -> None:
    """Ends the made-up run; ``advice`` is added to its sentence."""
    store = stage.window.live.curves.store
    models = {
        role: {
            "accuracy": store.curves[CurveKey(role, "")].y[-1],
            "asr": {name: store.curves[CurveKey(role, name)].y[-1] for name in triggers},
            "accuracy_by_class": {str(index): 0.97 - LOST[role] * (index == 2) - 0.004 * index for index in range(10)},
            "images_by_class": {str(index): 120 for index in range(10)},
        }
        for role in store.roles
    }
    models["teacher"]["class_names"] = list(card(FILE, (), ()).class_names)
    models["student"] |= {"architecture": "wrn-16-1", "parameters": 175_066, "onnx_parity_max_abs": 3e-6}
    kept = f"The student answers correctly on {models['student']['accuracy']:.0%} of the test images"
    worst = "the worst trigger that was tried" if len(triggers) > 1 else "the sticker"
    asr = [max(models[role]["asr"].values(), default=0.0) for role in ("student", "teacher")]
    summary = f"{kept}; {worst} fools it on {asr[0]:.0%} instead of {asr[1]:.0%} of them."
    if not triggers:
        summary = f"{kept.replace('answers correctly', 'agrees with the teacher').replace('test', 'synthetic')}."
    summary = f"{summary[:-1]}; {advice}." if advice else summary
    report = {**models, "summary": summary, "caution": caution, "steps": STEPS, "wall_s": 312.0}
    stage.engine.play(StudentExported("student.onnx", 3e-6, 256), AuditFinished("/home/ada/runs/1", report))


State = Callable[[Stage], None]


def _asks(stage: Stage) -> None:
    stage.open(FILE, questions=QUESTIONS)


def _ready(stage: Stage) -> None:
    stage.open(LONG_FILE, findings=FINDINGS)


def _ready_plan(stage: Stage) -> None:
    stage.open(FILE)
    stage.window.draft.replace(
        AuditPlan(
            "",
            "",
            data=IMAGES.path,
            triggers=(TriggerSpec("sticker"), TriggerSpec("/home/ada/a very long name of a picture.png")),
            target_class=2,
            minutes=5,
            compare=True,
        )
    )
    stage.engine.play(IMAGES)
    stage.window.setup.plan.fold.heading.setChecked(True)
    for _ in range(3):
        QApplication.processEvents()
    bar = stage.window.setup.scroll_area.verticalScrollBar()
    bar.setValue(bar.maximum())


def _evaluation(stage: Stage) -> None:
    _ready_plan(stage)
    QApplication.processEvents()
    stage.window.setup.scroll_area.verticalScrollBar().setValue(330)


def _refused(stage: Stage) -> None:
    stage.window.open_file("/home/ada/models/model.pth")
    stage.engine.play(
        AuditFailed(
            "This is a web page, not a model.",
            "/home/ada/models/model.pth",
            "It begins with <!DOCTYPE html>: a download page was saved instead of the file.",
            "Download the file itself, or ask its author for a .safetensors file.",
            3,
            "details",
        )
    )


def _tab(name: str) -> State:
    def show(stage: Stage) -> None:
        stage.run(until=0.62)
        _open_tab(stage, name)

    return show


def _open_tab(stage: Stage, name: str) -> None:
    live = stage.window.live
    live.setCurrentWidget(getattr(live, name))


def _several(stage: Stage) -> None:
    stage.run(triggers=("badnets-grid", "blend", "sig"), until=0.9)


def _paused(stage: Stage) -> None:
    stage.run(until=0.62)
    stage.engine.play(PauseChanged(True))


def _asks_cancel(stage: Stage) -> None:
    stage.run(until=0.62)
    stage.window.run_bar.ask_to_cancel()


def _stopping(stage: Stage) -> None:
    stage.run(until=0.62)
    stage.window.session.stop_and_keep()


def _closing(stage: Stage) -> None:
    stage.run(until=0.62)
    stage.window.close()


def _finished(stage: Stage) -> None:
    stage.run()
    finish(stage, triggers=("sticker",))


def _classes(stage: Stage) -> None:
    stage.run()
    finish(
        stage,
        triggers=("sticker",),
        caution="warning",
        advice="it lost much more of class 2 ('speed 30') than of the others",
    )
    _open_tab(stage, "classes")


def _little(stage: Stage) -> None:
    stage.run(until=0.3)
    advice = "do not use it yet: it has learned too little, and a student that knows little shows no backdoor either"
    finish(stage, triggers=("sticker",), caution="danger", advice=advice)


def _estimates(stage: Stage) -> None:
    stage.run(triggers=(), compare=False)
    finish(stage, triggers=(), caution="warning", advice="no trigger was tested, so nothing is known about backdoors")


def _many(stage: Stage) -> None:
    stage.run(triggers=("badnets-grid", "blend", "sig"))
    finish(stage, triggers=("badnets-grid", "blend", "sig"))


def _died(stage: Stage) -> None:
    stage.run(until=0.4)
    stage.engine.play(failure_of_exit(-9, pid=4711))


def _phase(until: float) -> State:
    return lambda stage: stage.run(until=until)


def _first_images(stage: Stage) -> None:
    _starting(stage)
    stage.engine.play(PhaseStarted("first images", "student", 0), PhaseAdvanced("student", 0.42))


def _findings(stage: Stage) -> None:
    stage.run(compare=False, until=0.3)
    for finding in RUN_FINDINGS:
        stage.engine.play(FindingMade(finding))
    _open_tab(stage, "findings")


def _dragging(stage: Stage) -> None:
    stage.window.setup.teacher.drop_zone.set_dragging(True)


def _inspecting(stage: Stage) -> None:
    stage.window.open_file(FILE)


def _starting(stage: Stage) -> None:
    stage.open(FILE)
    stage.window.distill()


STATES: dict[str, State] = {
    "empty": lambda stage: None,
    "drag-over": _dragging,
    "inspecting": _inspecting,
    "asks": _asks,
    "ready": _ready,
    "ready-evaluation": _evaluation,
    "ready-plan": _ready_plan,
    "refused": _refused,
    "starting": _starting,
    "running-first-images": _first_images,
    "running-warm-up": _phase(0.1),
    "running-vaccine-check": _phase(0.175),
    "running-distilling": _phase(0.62),
    "running-self-retrospection": _phase(0.93),
    "running-several-triggers": _several,
    "running-images": _tab("images"),
    "running-losses": _tab("losses"),
    "running-log": _tab("log"),
    "running-findings": _findings,
    "paused": _paused,
    "asks-cancel": _asks_cancel,
    "stopping": _stopping,
    "closing": _closing,
    "finished": _finished,
    "finished-classes": _classes,
    "finished-little": _little,
    "finished-estimates": _estimates,
    "finished-several-triggers": _many,
    "failed": _died,
}
"""By the name of the picture."""
