"""Names of every script are printed on a terminal of any encoding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from abd_app.plan import AuditPlan

ROOT = Path(__file__).resolve().parents[2]
NAME = "模型😀.pth"
COMMAND_LINE = """
import pathlib, sys
from types import ModuleType
from abd_app import cli, history
from abd_app.events import AuditFinished, FindingMade
from abd_app.teacher import Finding

def run_audit(plan, **_):
    yield FindingMade(Finding("info", plan.teacher_file))
    yield AuditFinished(plan.out, {"summary": plan.teacher_file, "teacher": {"file": plan.teacher_file}})

audit = ModuleType("abd_app.audit")
audit.run_audit = run_audit
sys.modules["abd_app.audit"] = audit
history.data_folder = lambda: pathlib.Path.cwd() / "data"
sys.exit(cli.run(sys.argv[1:], open_window=lambda *_: 0))
"""


def _run(folder: Path, encoding: str, *words: str) -> str:
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", COMMAND_LINE, *words]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.decode(encoding)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Has a run in its history, of a teacher whose name has characters of everywhere."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "plan.json").write_text(AuditPlan(NAME, str(run)).to_json())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "history.jsonl").write_text(json.dumps(str(run)) + "\n")
    return tmp_path


@pytest.mark.parametrize(("encoding", "told"), [("cp1252", r"\u6a21\u578b\U0001f600.pth"), ("utf-8", NAME)])
def test_a_name_that_an_encoding_lacks_is_spelled_out(folder: Path, encoding: str, told: str) -> None:
    assert told in _run(folder, encoding, "runs")
    assert told in _run(folder, encoding, "distill", NAME, "--out", "out")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_json_is_json_in_every_encoding(folder: Path, encoding: str) -> None:
    (run,) = json.loads(_run(folder, encoding, "runs", "--json"))
    assert run["plan"]["teacher_file"] == NAME
    report = json.loads(_run(folder, encoding, "distill", NAME, "--out", "out", "--json"))
    assert Path(report["teacher"]["file"]).name == NAME
