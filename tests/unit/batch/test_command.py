"""``abd-app batch`` from its words to its exit code, on a fake engine."""

from __future__ import annotations

import csv
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abd_app import cli
from abd_app.batch import BatchPlan, run_batch
from abd_app.cli import batch
from tests.unit.batch.test_run import is_gone

ROOT = Path(__file__).parents[3]
RUNNER = "tests.unit.batch.fake_runner"
MakeBatch = Callable[..., BatchPlan]
AS_A_PROGRAM = f"""
import functools, sys
from abd_app import cli
from abd_app.cli import batch
batch.run_batch = functools.partial(batch.run_batch, runner="{RUNNER}")
sys.exit(cli.run(sys.argv[1:], open_window=None))
"""


@pytest.fixture
def command(make_batch: MakeBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setattr(batch, "run_batch", functools.partial(run_batch, runner=RUNNER))

    def run(*arguments: str, names: tuple[str, ...] = ("good.pth", "foreign.pth")) -> int:
        files = make_batch(*names).files
        words = ["batch", *files, "--out", str(tmp_path / "out"), "--device", "cpu", *arguments]
        return cli.run(words, open_window=lambda file, demo: 1)

    return run


Command = Callable[..., int]


def test_some_failed_is_exit_4_with_one_line_each_and_the_result_as_json(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--seeds", "0,1", "--json") == 4
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert (result["folder"], result["done"], result["failed"]) == (str(tmp_path / "out"), 2, 2)
    assert [(row["status"], row["seed"]) for row in result["audits"]] == [
        ("done", 0), ("done", 1), ("refused", 0), ("refused", 1),
    ]  # fmt: skip
    assert result["audits"][0]["student"] == {
        "accuracy": 0.9, "images": 40, "asr": {"sticker": 0.5}, "asr_images": {"sticker": 30},
    }  # fmt: skip
    lines = said.err.splitlines()
    assert lines[0] == "4 audits, 1 at a time"
    assert sum("started" in line for line in lines) == 4 and sum("done: good.pth" in line for line in lines) == 2
    assert lines[-1].startswith("[4 of 4 ended, 2 failed] refused: foreign.pth, seed 1: This is no model.")


def test_all_done_is_exit_0_and_a_second_run_has_nothing_to_do(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(names=("good.pth",)) == 0
    assert "1 of 1 audits are done" in capsys.readouterr().out
    assert command(names=("good.pth",)) == 2
    assert "--resume" in capsys.readouterr().err
    assert command("--resume", names=("good.pth",)) == 0
    said = capsys.readouterr().err
    assert "started" not in said and "1 of them by an earlier run" in said


def test_a_file_in_the_place_of_the_folder_is_not_to_be_continued(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").touch()
    assert command(names=("good.pth",)) == 2
    said = capsys.readouterr().err
    assert "It is a file." in said and "new folder with --out" in said and "--resume" not in said


def test_the_options_of_distill_reach_every_audit(command: Command, tmp_path: Path) -> None:
    how = "--method zskt --defense sv --student wrn-16-1 --steps 7 --precision fp32 --trigger sig --target 3 --compare"
    facts = "--arch wrn-16-2 --classes 5 --size 16x16 --mean .1,.2,.3 --std .4,.5,.6 --answers logits"
    assert command(*how.split(), *facts.split(), names=("good.pth",)) == 0
    (stored,) = (tmp_path / "out").glob("good-*/plan.json")
    plan = json.loads(stored.read_text())
    assert (plan["method"], plan["defense"], plan["student"], plan["steps"]) == ("zskt", "sv", "wrn-16-1", 7)
    assert (plan["precision"], plan["target_class"], plan["compare"]) == ("fp32", 3, True)
    assert plan["triggers"][0]["name"] == "sig"
    assert plan["facts"] == {
        "architecture": "wrn-16-2", "num_classes": 5, "input_size": [16, 16], "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6], "answers": "logits",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--seeds", "0,x"), "0,1,2"),
        (("--seeds", "-5"), "Seed -5"),
        (("--jobs", "0"), "--jobs"),
        (("--steps", "1", "--minutes", "1"), "--steps, --minutes"),
        (("--method", "magic"), "auto, "),
        (("/no/such.pth",), "/no/such.pth"),
        (("--ray", "nowhere"), "HOST:PORT"),
        (("--ray", "127.0.0.1:9"), "does not answer"),
    ],
)
def test_bad_usage_is_exit_2_and_leaves_no_folder(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], hint: str
) -> None:
    assert command(*arguments) == 2
    said = capsys.readouterr()
    assert hint in said.err and "Traceback" not in said.err and said.out == ""
    assert not (tmp_path / "out").exists()


def test_without_ray_the_line_that_installs_it_is_told(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert command("--ray", "auto") == 2
    assert "pip install 'ray>=2.9'" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent")
@pytest.mark.parametrize(("name", "exit_code"), [("SIGINT", 130), ("SIGTERM", 130), ("SIGKILL", -9)])
def test_no_audit_outlives_the_batch(make_batch: MakeBatch, tmp_path: Path, name: str, exit_code: int) -> None:
    files, out = make_batch("good.pth", "waits1.pth", "waits2.pth").files, tmp_path / "out"
    words = ["batch", *files, "--out", str(out), "--device", "cpu", "--jobs", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    program = subprocess.Popen([sys.executable, "-c", AS_A_PROGRAM, *words, "--json"], env=environment, **streams)
    try:
        seen = _eventually(lambda: [*out.glob("*/seen.json")], lambda found: len(found) == 3)
        time.sleep(0.2)  # whoever wrote it has closed it
        pids = [json.loads(path.read_text())["pid"] for path in seen]
        program.send_signal(signal.Signals[name])
        assert program.wait(20) == exit_code
        assert _eventually(lambda: [pid for pid in pids if not is_gone(pid)], lambda left: not left) == []
    finally:
        program.kill()
        printed, told = program.communicate()
    with (out / "summary.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["done", *["unfinished"] * 2]
    said = f"abd-app: Cancelled: 1 of 3 audits are done.\n  where: {out}\n  what to do: Continue the batch with"
    assert printed == "" and (said in told) == (exit_code == 130)


def _eventually(look: Callable[[], list[Any]], enough: Callable[[list[Any]], bool], limit_s: float = 20.0) -> list[Any]:
    end_s = time.monotonic() + limit_s
    while not enough(found := look()) and time.monotonic() < end_s:
        time.sleep(0.05)
    return found
