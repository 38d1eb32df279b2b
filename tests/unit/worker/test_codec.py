from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from abd_app import events
from abd_app.events import (
    AuditFinished,
    CostEstimated,
    DevicesListed,
    Event,
    FindingMade,
    ImagesDrawn,
    ImagesInspected,
    Measured,
    PhaseAdvanced,
    StepDone,
    TeacherInspected,
)
from abd_app.plan import AuditPlan, TeacherFacts, TriggerSpec
from abd_app.teacher import DataFile, Finding, Question, TeacherCard
from abd_app.worker.codec import CodecError, decode, encode
from abd_app.worker.messages import AuditJob, Command, ImagesJob, InspectJob, PauseChanged

CARD = TeacherCard(
    file="модель \u202eevil\n\udcff.pth",
    sha256="ab" * 32,
    size_bytes=12,
    format="safetensors",
    architecture=None,
    num_classes=10,
    channels=3,
    input_size=(32, 48),
    mean=(0.5, 0.5, 0.5),
    std=None,
    answers="logits",
    parameters=5,
    batchnorm_layers=0,
    class_names=("a", "b"),
    findings=(Finding("danger", "<b>bold</b>", "why"),),
    questions=(Question("input_size", "?", "", "", "--size HxW"),),
    data_files=(DataFile("модель.data", "cd" * 32, 7, "why"),),
)
PLAN = AuditPlan(
    "t.pth",
    "out",
    facts=TeacherFacts(input_size=(32, 32), mean=(0.5,), std=(1,)),
    minutes=2.5,
    triggers=(TriggerSpec("sticker"), TriggerSpec("/tmp/x.png", "center", 0.3)),
)
MESSAGES: list[Any] = [
    TeacherInspected(CARD),
    DevicesListed((("cpu", "CPU", 10**12),)),
    CostEstimated("ood", "why", {"quick": 1.5}, ("fast", "other")),
    Measured("student", 3, 0.5, 10, {"sig": 0.25}, {"sig": 9}, estimated=True),
    StepDone("twin", 1, 2, 0.5, {"kd": math.inf}),
    PhaseAdvanced("student", 0.25),
    FindingMade(Finding("info", "t")),
    AuditFinished("out", {"teacher": {"asr": {"sig": 1.0}}, "findings": [], "twin": None}),
    InspectJob("t.pth", TeacherFacts()),
    ImagesJob("images.npz", CARD),
    ImagesInspected("images.npz", 9, 3, 8, 8, findings=(Finding("warning", "t", "d"),)),
    AuditJob(PLAN),
    AuditJob(dataclasses.replace(PLAN, target_class="all")),
    Command("cancel"),
    PauseChanged(True),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_pipe(message: Any) -> None:
    assert decode(encode(message)) == message


def test_arrays_keep_their_bytes_dtype_and_shape() -> None:
    images = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)[:, ::-1]
    back = decode(encode(ImagesDrawn(7, images, (1, 2), (False, True))))
    assert back.images.dtype == np.uint8
    np.testing.assert_array_equal(back.images, images)
    assert (back.labels, back.suspicious) == ((1, 2), (False, True))


def test_numpy_scalars_become_plain_numbers() -> None:
    event = StepDone("student", np.int64(3), 4, np.float32(0.5), {"kd": np.float64(1.0)})  # type: ignore[arg-type]
    assert decode(encode(event)) == StepDone("student", 3, 4, 0.5, {"kd": 1.0})


def test_every_event_of_the_vocabulary_can_be_sent() -> None:
    for kind in vars(events).values():
        if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event:
            fields = dataclasses.fields(kind)
            raw = json.dumps({"kind": kind.__name__, "no such field": 1, **{field.name: 0 for field in fields}})
            with pytest.raises(CodecError, match="unknown keys"):
                decode(raw.encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04K\x01.",
        b"[]",
        b"[" * 100_000,
        b'{"kind": "os"}',
        b'{"kind": "Command", "name": "format the disk"}',
        b'{"kind": "StudentExported", "path": 5, "parity_max_abs": 0.0, "images": 1}',
        b'{"kind": "StudentExported", "path": "x", "parity_max_abs": 0.0}',
        b'{"kind": "InspectionFinished", "extra": 1}',
        b'{"kind": "ImagesDrawn", "step": 1, "labels": [], "suspicious": [], "images": '
        b'{"data": "AAAA", "dtype": "|u1", "shape": [4]}}',
        b'{"kind": "ImagesDrawn", "step": 1, "labels": [], "suspicious": [], "images": '
        b'{"data": "AAAA", "dtype": "|O", "shape": [3]}}',
    ],
)
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode(data)
