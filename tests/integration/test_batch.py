"""Real audits, small, in processes of their own that are killed: on this machine, and on a Ray cluster."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from abd_app.batch import BatchFinished, BatchPlan, run_batch
from abd_app.plan import AuditPlan
from tests.integration.held_runner import HELD_STEP, LOG

ROOT = Path(__file__).parents[2]
RUNNER = "tests.integration.held_runner"
STEPS = 10
TinyPlan = Callable[..., AuditPlan]


@pytest.fixture
def tiny_batch(tiny_plan: TinyPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BatchPlan:
    """A teacher whose audit will be killed, one that is broken and one that is well."""
    monkeypatch.syspath_prepend(str(ROOT))  # the children inherit it and find the runner
    one = tiny_plan(compare=False, steps=STEPS)
    files = [tmp_path / name for name in ("held.pth", "broken.pth", "well.pth")]
    for file in files:
        shutil.copy(one.teacher_file, file)
    files[1].write_bytes(b"not a model")
    options = replace(one, teacher_file="", out="")
    return BatchPlan(tuple(map(str, files)), (0,), str(tmp_path / "out"), options, jobs=2)


def _steps(plan: BatchPlan, name: str) -> list[tuple[int, int, int]]:
    """Process, its parent and the step, in the order in which they were done."""
    logs = list(Path(plan.out).glob(f"{name}-*/{LOG}"))
    lines = [line.split() for log in logs for line in log.read_text().splitlines()]
    return [(int(pid), int(parent), int(step)) for pid, parent, step in (line for line in lines if len(line) == 3)]


@contextlib.contextmanager
def _killing_the_held(plan: BatchPlan, *, the_parent: bool) -> Iterator[None]:
    """Sends SIGKILL to the process of the held audit, or to its parent, once it stands still."""

    def kill() -> None:
        while not (done := _steps(plan, "held")) or done[-1][2] < HELD_STEP:
            if over.wait(0.1):
                return
        os.kill(done[-1][the_parent], signal.SIGKILL)

    over, killer = threading.Event(), threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        over.set()
        killer.join()


def _statuses(events: list[object]) -> list[str]:
    finished = events[-1]
    assert isinstance(finished, BatchFinished)
    return [outcome.status for outcome in finished.outcomes]


@pytest.mark.skipif(sys.platform == "win32", reason="a signal is sent")
def test_a_killed_and_a_broken_one_do_not_stop_the_others_and_the_killed_one_goes_on(tiny_batch: BatchPlan) -> None:
    with _killing_the_held(tiny_batch, the_parent=False):
        events: list[object] = list(run_batch(tiny_batch, runner=RUNNER))
    assert _statuses(events) == ["failed", "refused", "done"]
    finished = events[-1]
    assert isinstance(finished, BatchFinished) and "SIGKILL" in finished.outcomes[0].message
    well = _steps(tiny_batch, "well")
    before = len(_steps(tiny_batch, "held"))

    again: list[object] = list(run_batch(replace(tiny_batch, resume=True), runner=RUNNER))
    assert _statuses(again) == ["done", "refused", "done"]
    assert _steps(tiny_batch, "well") == well, "what is finished is not run again"
    second = [step for _, _, step in _steps(tiny_batch, "held")][before:]
    assert (second[0], second[-1]) == (HELD_STEP, STEPS), "it went on from its last checkpoint"
    for task in (tiny_batch.tasks()[0], tiny_batch.tasks()[2]):
        assert (Path(task.plan.out) / "student.onnx").stat().st_size > 1000
    assert "held.pth" in (Path(tiny_batch.out) / "summary.html").read_text()


@pytest.fixture
def ray_address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Ray of two workers, on the loopback alone; gone afterwards with all its processes and files."""
    # Short: Ray puts sockets below it, whose paths the system limits.
    folder = tempfile.mkdtemp(prefix="abd", dir="/tmp")
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)}
    for name, value in quiet.items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = f"--head --block --node-ip-address 127.0.0.1 --port {port} --num-cpus 2 --include-dashboard false " \
            f"--disable-usage-stats --object-store-memory 100000000 --temp-dir {folder}"  # fmt: skip
    program = [sys.executable, "-m", "ray.scripts.scripts", "start", *words.split()]
    log = Path(folder, "start.log")
    with log.open("w") as output:
        head = subprocess.Popen(program, stdout=output, stderr=subprocess.STDOUT)
    try:
        end_s = time.monotonic() + 60
        while "--block" not in log.read_text():
            assert head.poll() is None and time.monotonic() < end_s, log.read_text()
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        head.terminate()
        try:
            head.wait(40)
        except subprocess.TimeoutExpired:
            head.kill()
            head.wait()
        shutil.rmtree(folder, ignore_errors=True)


BATCH = f"""
import json, sys
from abd_app.batch import BatchPlan, run_batch
from abd_app.plan import AuditPlan
files, out, options, address = sys.argv[1:]
plan = BatchPlan(tuple(json.loads(files)), (0,), out, AuditPlan.from_json(options), ray=address)
*_, finished = run_batch(plan, runner="{RUNNER}")
print(json.dumps([(outcome.status, outcome.message) for outcome in finished.outcomes]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Ray's workers are killed by their ids")
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed")
def test_the_audit_of_a_killed_ray_worker_goes_on_in_another(tiny_batch: BatchPlan, ray_address: str) -> None:
    files = (tiny_batch.files[0], tiny_batch.files[2])
    arguments = [json.dumps(files), tiny_batch.out, tiny_batch.options.to_json(), ray_address]
    with _killing_the_held(tiny_batch, the_parent=True):
        ended = subprocess.run(
            [sys.executable, "-c", BATCH, *arguments], capture_output=True, text=True, timeout=150, check=False
        )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1]) == [["done", ""], ["done", ""]], ended.stderr
    held = _steps(tiny_batch, "held")
    assert len({parent for _, parent, _ in held}) == 2, "the second attempt has another worker"
    second = [step for _, parent, step in held if parent != held[0][1]]
    assert (second[0], second[-1]) == (HELD_STEP, STEPS), "it went on from its last checkpoint"
    assert (Path(tiny_batch.out) / "summary.csv").read_text().count(",done,") == 2
