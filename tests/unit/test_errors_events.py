from __future__ import annotations

import dataclasses
import errno
import json

import pytest

from abd_app import events
from abd_app.assets import asset
from abd_app.errors import (
    AuditError,
    MissingFactsError,
    RunFailedError,
    TeacherRefusedError,
    UsageError,
    foreseen,
    out_of_memory,
)
from abd_app.teacher import Finding, Question, TeacherCard

CARD = TeacherCard(
    file="teacher.pt",
    sha256="ab" * 32,
    size_bytes=10,
    format="state_dict",
    architecture=None,
    num_classes=10,
    channels=3,
    input_size=(32, 32),
    mean=None,
    std=None,
    answers=None,
    parameters=5,
    batchnorm_layers=0,
    findings=(Finding("warning", "No BatchNorm."),),
    questions=(Question("input_size", "Which?", "32x32", "usual", "--size HxW"),),
)


def test_an_error_reads_what_where_why_and_what_to_do_in_this_order() -> None:
    error = AuditError("It broke.", where="here", why="It was old.", remedy="Buy a new one.")
    assert str(error).splitlines() == [
        "It broke.",
        "  where: here",
        "  why: It was old.",
        "  what to do: Buy a new one.",
    ]


def test_an_error_leaves_out_what_it_does_not_know() -> None:
    assert str(AuditError("It broke.", remedy="Buy a new one.")) == "It broke.\n  what to do: Buy a new one."


@pytest.mark.parametrize(
    ("kind", "code"),
    [(UsageError, 2), (MissingFactsError, 2), (TeacherRefusedError, 3), (RunFailedError, 4), (AuditError, 4)],
)
def test_each_kind_of_error_has_the_exit_code_that_scripts_rely_on(kind: type[AuditError], code: int) -> None:
    assert kind("x").exit_code == code


@pytest.mark.parametrize(
    ("error", "what", "where"),
    [
        (MemoryError(), "The device ran out of memory.", ""),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "The device ran out of memory.", ""),
        (OSError(errno.ENOSPC, "No space left on device", "/mnt/out"), "The disk is full.", "/mnt/out"),
    ],
)
def test_a_full_memory_or_disk_is_told_with_a_way_out(error: Exception, what: str, where: str) -> None:
    told = foreseen(error)
    assert told is not None and (told.what, told.where, told.exit_code) == (what, where, 4)
    assert told.remedy


@pytest.mark.parametrize(
    ("error", "elsewhere"),
    [
        (MemoryError(), False),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), False),
        (RuntimeError("could not create a primitive"), False),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory."), True),
    ],
)
def test_who_has_too_little_memory_on_a_cpu_is_not_sent_to_the_cpu(error: Exception, elsewhere: bool) -> None:
    assert out_of_memory(error)
    told = foreseen(error)
    assert told is not None and ("run on the CPU" in told.remedy) is elsewhere


def test_a_pass_that_the_library_cannot_compute_is_no_lack_of_memory() -> None:
    assert not out_of_memory(RuntimeError("could not create a primitive descriptor for a convolution"))


def test_what_nobody_has_foreseen_has_no_other_words() -> None:
    known = UsageError("No.")
    assert foreseen(known) is known
    assert foreseen(RuntimeError("oh")) is None and foreseen(OSError(errno.ENOENT, "gone")) is None


def test_every_event_is_frozen_and_belongs_to_the_family() -> None:
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and kind.__module__ == events.__name__]
    assert len(kinds) > 10
    for kind in kinds:
        assert issubclass(kind, events.Event)
        assert dataclasses.is_dataclass(kind)
        assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_a_card_is_json() -> None:
    read = json.loads(json.dumps(dataclasses.asdict(CARD)))
    assert read["input_size"] == [32, 32]
    assert read["findings"][0]["severity"] == "warning"
    assert read["questions"][0]["option"] == "--size HxW"


def test_an_asset_is_found_in_the_checkout() -> None:
    assert asset("demo").is_dir()


def test_a_missing_asset_says_that_the_installation_is_incomplete() -> None:
    with pytest.raises(RunFailedError, match=r"demo/none\.bin is missing") as caught:
        asset("demo/none.bin")
    assert caught.value.remedy
