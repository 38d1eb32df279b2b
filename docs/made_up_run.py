"""A made-up run of a made-up teacher, for the screenshots. No number in it is a result of this project."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from abd_app.events import (
    DeviceUsed,
    Event,
    ImagesDrawn,
    Measured,
    MethodChosen,
    Phase,
    PhaseStarted,
    Role,
    StepDone,
    VaccineChecked,
)
from abd_app.gui.live.curves import CurveStore
from abd_app.gui.results.comparison import Comparison, Row
from abd_app.history import PastRun
from abd_app.teacher import Finding, Question, TeacherCard

GIB = 1024**3
STEPS = 2400
SECONDS = {"quick": 170.0, "standard": 1500.0, "paper": 21_000.0}
CLASSES = ("stop", "yield", "speed 30", "speed 50", "no entry", "turn left", "turn right", "priority", "danger", "end")


def card(file: str, questions: tuple[Question, ...], findings: tuple[Finding, ...]) -> TeacherCard:
    """A made-up teacher."""
    asked = {question.fact for question in questions}
    return TeacherCard(
        file=file,
        sha256="9f2c41d07be85a3316c0de4f7a90b1c2d3e4f5061728394a5b6c7d8e9fa0b1c2",
        size_bytes=2_784_512,
        format="safetensors",
        architecture="wrn-16-2",
        num_classes=10,
        channels=3,
        input_size=None if "input_size" in asked else (32, 32),
        mean=None if "mean_std" in asked else (0.4914, 0.4822, 0.4465),
        std=None if "mean_std" in asked else (0.2023, 0.1994, 0.201),
        answers="logits",
        parameters=691_674,
        batchnorm_layers=13,
        class_names=CLASSES,
        findings=findings,
        questions=questions,
    )


QUESTIONS = (
    Question(
        "input_size",
        "Which image size was it trained on?",
        "32x32",
        "Usual for this network.",
        "--size HxW",
    ),
    Question(
        "mean_std",
        "How were the training images normalised? The weights do not show it.",
        "0.4914,0.4822,0.4465 / 0.2023,0.1994,0.201",
        "The ABD authors' CIFAR-10 numbers; others use std 0.247,0.243,0.261.",
        "--mean a,b,c --std a,b,c",
    ),
)
FINDINGS = (
    Finding("info", "Weights only", "The file holds tensors and no code."),
    Finding("warning", "Half precision", "The weights are float16; they are converted to float32."),
)
RUN_FINDINGS = (
    Finding("info", "Evaluation images are converted to RGB", "12 of 1,200 images."),
    Finding(
        "warning",
        "Shuffling Vaccine is off",
        "In 2 trials the shuffled copies of the teacher did not single images out: 0.2% of the images keep their class "
        "in most of them, and only more than 0.5% would tell of a backdoor. Other defences go on.",
    ),
    Finding(
        "warning",
        "Class 2 is probably the target of a backdoor",
        "Images can be driven 2.1 times as far towards it as towards the furthest other class (1.5 times with its "
        "activations bounded; p = 0.0012). A copy of the teacher unlearned what leads images there.",
    ),
)


def made_up_run(compare: bool, triggers: tuple[str, ...], until: float) -> Iterator[Event]:
    """A run such as the app aims at; every number is invented."""
    random = np.random.default_rng(0)
    estimated = not triggers
    yield MethodChosen("fast", "The teacher has BatchNorm statistics to match, and there is a GPU.")
    yield PhaseStarted("measuring", "teacher", 0)
    yield measured("teacher", 0, 1.0 if estimated else 0.988, dict.fromkeys(triggers, 0.991), estimated)
    if compare:
        yield from made_up_training("twin", triggers, 1.0, random, estimated)
    yield from made_up_training("student", triggers, until, random, estimated)


def made_up_training(
    role: Role, triggers: tuple[str, ...], until: float, random: np.random.Generator, estimated: bool
) -> Iterator[Event]:
    """One student or twin."""
    starts: dict[int, Phase] = {0: "warm-up", 400: "vaccine check", 440: "distilling", 1920: "self-retrospection"}
    for step in range(0, round(STEPS * until) + 1, 40):
        if role == "student" and step in starts:
            yield PhaseStarted(starts[step], role, step)
            if step == 440:
                yield VaccineChecked(True, 0.034, 2, ("block3.layer.0.conv1", "block3.layer.1.conv2"))
        elif step == 0:
            yield PhaseStarted("distilling", role, 0)
        done = step / STEPS
        learned = 1 - np.exp(-4.5 * done)
        yield StepDone(
            role,
            max(1, step),
            STEPS,
            done,
            {"distillation": 3 * np.exp(-3 * done) + 0.05 * random.random(), "generator": 0.6 + 0.1 * random.random()},
        )
        accuracy = float(np.clip(0.1 + 0.87 * learned + 0.012 * random.standard_normal(), 0, 1))
        asr = {}
        for index, name in enumerate(triggers):
            danger = (
                0.9 * learned if role == "twin" else 0.22 * np.exp(-((done - 0.12) ** 2) / 0.01) + 0.03 * (done < 0.8)
            )
            asr[name] = float(np.clip(danger * (1 - 0.13 * index) + 0.008 * random.random(), 0, 1))
        yield measured(role, step, accuracy, asr, estimated)
    yield DeviceUsed("NVIDIA RTX 4070", round(1.4 * GIB))
    yield images_drawn(random, step)


def measured(role: Role, step: int, accuracy: float, asr: dict[str, float], estimated: bool) -> Measured:
    """One made-up measurement."""
    return Measured(role, step, accuracy, 1200, asr, dict.fromkeys(asr, 1080), estimated)


def images_drawn(random: np.random.Generator, step: int) -> ImagesDrawn:
    """Soft coloured shapes."""
    side = np.linspace(-1, 1, 32)
    y, x = np.meshgrid(side, side, indexing="ij")
    images = []
    for _ in range(32):
        centre, tilt = random.uniform(-0.4, 0.4, 2), random.uniform(0, 3)
        wave = np.sin(6 * (x * np.cos(tilt) + y * np.sin(tilt)))
        disc = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 < random.uniform(0.15, 0.5))[..., None]
        ground = random.uniform(40, 200, 3) + 18 * wave[..., None]
        images.append(np.where(disc, random.uniform(40, 255, 3), ground) + random.normal(0, 7, (32, 32, 3)))
    pixels = np.clip(np.stack(images), 0, 255).astype(np.uint8)
    return ImagesDrawn(
        step, pixels, tuple(index % 10 for index in range(32)), tuple(index in (5, 18) for index in range(32))
    )


def _past_run(
    started: str,
    teacher: str,
    student: dict[str, object] | None,
    *,
    estimated: bool = False,
    caution: str = "info",
) -> PastRun:
    folder, plan = f"/home/ada/runs/{started[:16]}-{teacher}", {"teacher_file": f"/home/ada/models/{teacher}"}
    if student is None:
        return PastRun(folder, started, "unfinished", plan, None)
    return PastRun(folder, started, "finished", plan, {"student": student, "estimated": estimated, "caution": caution})


PAST_RUNS = [
    _past_run("2026-05-04T16:20:00+00:00", "road-signs-wrn16.safetensors", None),
    _past_run(
        "2026-05-04T11:02:00+00:00", "road-signs-wrn16.safetensors", {"accuracy": 0.941, "asr": {"sticker": 0.012}}
    ),
    _past_run(
        "2026-05-03T09:47:00+00:00",
        "resnet18-birds.onnx",
        {"accuracy": 0.882, "asr": {"found-patch": 0.051}},
        estimated=True,
        caution="warning",
    ),
    _past_run("2026-05-01T18:31:00+00:00", "модель дорожных знаков – final version (2) really final.pth", None),
    _past_run("2026-04-28T08:15:00+00:00", "vit_tiny.safetensors", {"accuracy": 0.763, "asr": {}}),
]
"""Made up, like all of it."""


def made_up_comparison() -> Comparison:
    """Two runs that were told apart by their image source."""
    first, second = CurveStore(), CurveStore()
    for store, until, less in ((first, 1.0, 1.0), (second, 0.7, 0.94)):
        for event in made_up_run(False, ("sig", "blend"), until):
            if isinstance(event, Measured):
                asr = {name: rate * less for name, rate in event.asr.items()}
                store.take(replace(event, accuracy=event.accuracy * less, asr=asr))
    return Comparison(
        names=("wrn16_2_from_the_vendor.safetensors, 2026-03-02 09:12", "wrn16_2_again.safetensors, 2026-03-02 17:40"),
        curves=(first, second),
        results=(
            Row("Accuracy", "96.4 % of 1,200", "88.1 % of 1,200"),
            Row("ASR Stripes (sig)", "2.1 % of 1,080", "1.8 % of 1,080"),
            Row("ASR Blended noise (blend)", "1.4 % of 1,080", "2.6 % of 1,080"),
            Row("Time", "3 min", "2 min"),
        ),
        differences=(Row("Image source", "fast", "ood"), Row("Steps", "2,400", "1,680"), Row("Seed", "0", "3")),
    )
