"""The history: what was remembered and is still there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from abd_app import cli, history
from abd_app.plan import AuditPlan

ROOT = Path(__file__).resolve().parents[2]
REPORT = {
    "summary": "Good.",
    "teacher": {},
    "estimated": False,
    "student": {"accuracy": 0.681, "asr": {"blend": 0.006, "sig": 0.02}},
}


@pytest.fixture(autouse=True)
def _empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "data_folder", lambda: tmp_path / "data")


def _left(folder: Path, *, report: object = None, age_s: int = 0) -> str:
    folder.mkdir()
    plan = folder / "plan.json"
    plan.write_text(AuditPlan("models/te\x1bacher.pth", str(folder)).to_json())
    os.utime(plan, (1_000_000 - age_s,) * 2)
    if report is not None:
        (folder / "report.json").write_text(json.dumps(report))
    return str(folder)


def _runs(*arguments: str) -> int:
    return cli.run(["runs", *arguments], open_window=lambda *_: 0)


def test_the_newest_comes_first_and_each_once(tmp_path: Path) -> None:
    old, new = _left(tmp_path / "old", age_s=60, report=REPORT), _left(tmp_path / "new")
    for folder in (new, old, new):
        history.remember(folder)
    found = history.past_runs()
    assert [(run.folder, run.state) for run in found] == [(new, "unfinished"), (old, "finished")]
    assert found[1].result == REPORT and found[0].result is None
    assert found[0].plan["teacher_file"] == "models/te\x1bacher.pth"
    assert found[0].started > found[1].started


def test_a_relative_folder_is_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _left(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    history.remember("run")
    monkeypatch.chdir("/")
    assert [run.folder for run in history.past_runs()] == [str(tmp_path / "run")]


def test_what_has_gone_or_is_no_run_is_left_out(tmp_path: Path) -> None:
    kept = _left(tmp_path / "kept", report=["no", "report"])
    for folder in (kept, str(tmp_path / "gone")):
        history.remember(folder)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "plan.json").write_text("{")
    history.remember(broken)
    with (tmp_path / "data" / "history.jsonl").open("a") as file:
        file.write('17\n"cut o')
    assert [(run.folder, run.state) for run in history.past_runs()] == [(kept, "unfinished")]


def test_a_history_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file in the way")
    history.remember(tmp_path)
    assert history.past_runs() == []


def test_runs_prints_a_line_for_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _runs() == 0
    assert capsys.readouterr().out == "No runs yet.\n"
    old, new = _left(tmp_path / "old", age_s=60, report=REPORT), _left(tmp_path / "new")
    guessed = _left(tmp_path / "guessed", age_s=90, report=REPORT | {"estimated": True, "student": {"accuracy": 0.5}})
    for folder in (old, new, guessed):
        history.remember(folder)
    assert _runs() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines] == [new, old, guessed]
    assert "unfinished  te\\x1bacher.pth  -  " in lines[0]
    assert "finished    te\\x1bacher.pth  accuracy 68.1 %, ASR 2.0 % (sig)  " in lines[1]
    assert "  agreement 50.0 %  " in lines[2]


@pytest.mark.parametrize(("caution", "said"), [("danger", "; do not use it yet"), ("info", ""), (None, "")])
def test_runs_says_what_a_result_asks_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caution: str | None, said: str
) -> None:
    report = REPORT if caution is None else REPORT | {"caution": caution}
    history.remember(_left(tmp_path / "a", report=report))
    assert _runs() == 0
    assert f"accuracy 68.1 %, ASR 2.0 % (sig){said}  " in capsys.readouterr().out


def test_runs_json_has_plan_and_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history.remember(_left(tmp_path / "run", report=REPORT))
    assert _runs("--json") == 0
    (run,) = json.loads(capsys.readouterr().out)
    assert run["folder"] == str(tmp_path / "run") and run["result"] == REPORT
    assert AuditPlan.from_json(json.dumps(run["plan"])).out == str(tmp_path / "run")


def test_rates_that_were_not_measured_are_no_rates(tmp_path: Path) -> None:
    student = {"accuracy": 1, "asr": {"a": None, "b": 0.1, "c": "high", "d": True}}
    history.remember(_left(tmp_path / "run", report=REPORT | {"student": student}))
    (run,) = history.past_runs()
    assert (run.accuracy, run.worst_asr) == (1, ("b", 0.1))
    (tmp_path / "run" / "report.json").write_text(json.dumps(REPORT | {"student": {"accuracy": None, "asr": None}}))
    (run,) = history.past_runs()
    assert (run.accuracy, run.worst_asr) == (None, None)


def test_a_run_that_another_process_writes_is_running(tmp_path: Path) -> None:
    folder = Path(_left(tmp_path / "run"))
    history.remember(folder)
    (folder / "checkpoint").mkdir()
    code = f"""
from pathlib import Path
from abd_app.run_files import RunLock
lock = RunLock(Path({str(folder)!r}))
lock.acquire()
print("held", flush=True)
input()
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        assert history.past_runs()[0].state == "running"
    finally:
        holder.kill()
        holder.communicate()
    assert history.past_runs()[0].state == "unfinished", "however it has ended"


def test_a_reader_that_has_read_enough_is_no_failure(tmp_path: Path) -> None:
    for name in "abc":
        history.remember(_left(tmp_path / name, report=REPORT))
    environment = os.environ | {"XDG_DATA_HOME": str(tmp_path)}
    (tmp_path / "data").rename(tmp_path / "abd-app")
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "abd_app", "runs"]
    ran = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, cwd=ROOT, env=environment, check=False)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (141, b"")
