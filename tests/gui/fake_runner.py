"""A runner without torch for the engine child: what it does is told by the name of the teacher file.

``ready*`` knows everything, ``asks*`` lacks facts, ``foreign*`` is refused, ``slow-look*`` takes its time; audits of
``dies*``, ``hangs*``, ``memory*``, ``bug*``, ``exits*`` and ``fails*`` do what they are called; all others run
``plan.steps``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np

from abd_app.errors import RunFailedError, TeacherRefusedError
from abd_app.events import (
    AuditFinished,
    CostEstimated,
    DevicesListed,
    DeviceUsed,
    Event,
    ImagesDrawn,
    ImagesInspected,
    Measured,
    MethodChosen,
    PhaseStarted,
    Role,
    StepDone,
    StudentExported,
    TeacherInspected,
    VaccineChecked,
)
from abd_app.plan import AuditPlan, TeacherFacts
from abd_app.teacher import Finding, Question, TeacherCard

_GIB = 1024**3
STEP_S = 0.004
_SECONDS = {"quick": 150.0, "standard": 900.0, "paper": 86_000.0}
SUMMARY = "The student keeps 96 % of the teacher's accuracy; the sticker works on 2 % of 900 images instead of 99 %."


def list_devices() -> DevicesListed:
    return DevicesListed((("cpu", "CPU, 2 cores", 6 * _GIB),))


def release_memory() -> None:
    pass


def run_inspection(file: str, facts: TeacherFacts, choices: AuditPlan) -> Generator[Event, None, None]:
    name = Path(file).name
    if not Path(file).is_file():
        raise TeacherRefusedError("There is no such file.", where=file, remedy="Choose a file that exists.")
    if name.startswith("foreign"):
        raise TeacherRefusedError(
            "This file is not a model.",
            where=name,
            why="It begins like a web page.",
            remedy="Ask its author for a safetensors file.",
        )
    if name.startswith("slow-look"):
        time.sleep(30)
    yield TeacherInspected(card(file, facts, asks=name.startswith("asks")))
    device = choices.device
    yield CostEstimated("fast" if device == "cuda" else "ood", f"It learns most per minute on {device}.", _SECONDS)


def look_at_images(path: str, card: TeacherCard) -> Generator[Event, None, None]:
    yield ImagesInspected(path, 12, card.num_classes or 0, 32, 32, alike=True)


def card(file: str, facts: TeacherFacts, *, asks: bool = False) -> TeacherCard:
    questions = (
        Question(
            "architecture",
            "Which architecture is it?",
            "wrn-16-2",
            "Nearest: wrn-16-2.",
            "--arch NAME",
        ),
        Question("input_size", "Which image size was it trained on?", "", "", "--size HxW"),
    )
    answered = facts.input_size is not None
    return TeacherCard(
        file=file,
        sha256="3f" * 32,
        size_bytes=2_750_000,
        format="PyTorch state_dict",
        architecture="wrn-16-2",
        num_classes=10,
        channels=3,
        input_size=facts.input_size if asks else (32, 32),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        answers="logits",
        parameters=691_674,
        batchnorm_layers=13,
        class_names=tuple(f"sign {index}" for index in range(10)),
        findings=(Finding("info", "Weights only", "No code was found in the file."),),
        questions=questions if asks and not answered else (),
    )


def run_audit(
    plan: AuditPlan, *, stop_requested: Callable[[], bool], checkpoint_wanted: Callable[[], bool]
) -> Generator[Event, None, None]:
    name = Path(plan.teacher_file).name
    yield TeacherInspected(card(plan.teacher_file, plan.facts))
    yield MethodChosen("ood", "On a CPU it learns most per minute.")
    yield PhaseStarted("measuring", "teacher", 0)
    yield _measured("teacher", 0, 0.99, 0.985)
    _misbehave(name)
    steps = 0
    for role in ("student", "twin") if plan.compare else ("student",):
        steps = yield from _train(plan, role, stop_requested)
    Path(plan.out).mkdir(parents=True, exist_ok=True)
    (Path(plan.out) / "student.onnx").write_bytes(b"onnx of " + name.encode())
    (Path(plan.out) / "report.html").write_text("<h1>report</h1>", encoding="utf-8")
    yield StudentExported(str(Path(plan.out) / "student.onnx"), 2e-6, 256)
    yield AuditFinished(plan.out, _report(plan, steps))


def _misbehave(name: str) -> None:
    if name.startswith("dies"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("hangs"):
        time.sleep(60)
    if name.startswith("memory"):
        raise MemoryError("Unable to allocate 12.0 GiB")
    if name.startswith("bug"):
        raise ValueError("shapes (3, 4) and (5,) differ")
    if name.startswith("exits"):
        sys.exit(3)
    if name.startswith("fails"):
        raise RunFailedError("The disk is full.", where="/mnt/out", remedy="Free some space.")


def _train(plan: AuditPlan, role: Role, stop_requested: Callable[[], bool]) -> Generator[Event, None, int]:
    total = plan.steps or (100_000 if plan.minutes else 400)
    random = np.random.default_rng(plan.seed)
    yield PhaseStarted("warm-up" if role == "student" else "distilling", role, 0)
    for step in range(1, total + 1):
        if role == "student" and step == total // 5 + 1:
            yield PhaseStarted("vaccine check", role, step)
            yield VaccineChecked(True, 0.034, 2, ("block3.layer.0.conv1", "block3.layer.1.conv2"))
            yield PhaseStarted("distilling", role, step)
        if role == "student" and step == total * 4 // 5 + 1:
            yield PhaseStarted("self-retrospection", role, step)
        _burn(STEP_S)
        yield StepDone(role, step, total, step / total, {"kd": 2.0 / step} if step % 5 == 0 else {})
        if step % max(1, total // 20) == 0 or step == total:
            yield _measured(role, step, 0.95 * step / total, 0.02 if role == "student" else 0.9 * step / total)
            yield DeviceUsed("CPU", 700 * 1024**2)
            images = random.integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
            yield ImagesDrawn(step, images, tuple(range(10)) * 2 + (0, 1, 2, 3), (False,) * 22 + (True, True))
        if stop_requested():
            return step
    return total


def _burn(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def _measured(role: Role, step: int, accuracy: float, asr: float) -> Measured:
    return Measured(role, step, accuracy, 1000, {"sticker": asr}, {"sticker": 900})


def _report(plan: AuditPlan, steps: int) -> dict[str, object]:
    return {
        "summary": SUMMARY,
        "teacher": {"accuracy": 0.99, "asr": {"sticker": 0.985}},
        "student": {
            "accuracy": 0.95,
            "asr": {"sticker": 0.02},
            "architecture": "wrn-16-1",
            "parameters": 175_066,
            "onnx_parity_max_abs": 2e-6,
        },
        "steps": steps,
        "seed": plan.seed,
        "wall_s": 12.5,
    }
