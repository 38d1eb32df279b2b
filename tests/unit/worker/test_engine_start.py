"""A child that cannot be started, or that takes its time to."""

from __future__ import annotations

import errno
import gc
import tempfile
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from abd_app.events import (
    AuditCancelled,
    AuditFinished,
    StepDone,
)
from abd_app.worker import engine as engine_module
from abd_app.worker.engine import EngineProcess
from tests.unit.worker.engines import ROOT, audit, drain, is_gone


def test_a_child_that_cannot_be_started_leaves_nothing_and_the_next_one_can(
    engine: EngineProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ready.pth").write_bytes(b"x")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    handles = Path("/proc/self/fd")
    pipes = len(list(handles.iterdir())) if handles.exists() else 0

    def no_room(process: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    with monkeypatch.context() as full:
        full.setattr(SpawnProcess, "start", no_room)
        with pytest.raises(BlockingIOError):
            engine.submit(audit(tmp_path, steps=5))
    assert not engine.alive and not engine.busy and not list((tmp_path / "scratch").iterdir())
    if pipes:
        gc.collect()
        assert len(list(handles.iterdir())) == pipes
    engine.close()
    engine.submit(audit(tmp_path, steps=5))
    assert isinstance(drain(engine)[-1], AuditFinished)


def test_a_child_that_still_loads_its_engine_is_not_ended_by_a_cancel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    engine = EngineProcess("tests.unit.worker.slow_runner", cancel_grace_s=0.3)
    try:
        engine.submit(audit(tmp_path))
        pid = engine.pid
        engine.command("cancel")
        seen = drain(engine)
        assert isinstance(seen[-1], AuditCancelled) and not any(isinstance(event, StepDone) for event in seen)
        engine.submit(audit(tmp_path, steps=5))
        assert isinstance(drain(engine)[-1], AuditFinished) and engine.pid == pid
    finally:
        engine.close()


def test_a_child_that_hangs_while_it_loads_its_engine_is_ended_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setattr(engine_module, "_START_GRACE_S", 0.3)
    engine = EngineProcess("tests.unit.worker.slow_runner", cancel_grace_s=0.1)
    try:
        engine.submit(audit(tmp_path))
        pid = engine.pid
        assert pid is not None
        engine.command("cancel")
        assert drain(engine, limit_s=1.5) == [AuditCancelled()], "its engine takes two seconds"
        assert is_gone(pid)
    finally:
        engine.close()
