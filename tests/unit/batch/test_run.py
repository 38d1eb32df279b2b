"""A batch with a fake engine in real processes: what fails alone, what is run again, what is left behind."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from abd_app.batch import (
    AuditEnded,
    AuditStarted,
    BatchEvent,
    BatchFinished,
    BatchPlan,
    BatchPlanned,
    local_pool,
    run_batch,
)
from abd_app.batch.folder import BatchFolder
from abd_app.errors import UsageError
from abd_app.plan import AuditPlan
from tests.unit.worker.engines import is_gone

RUNNER = "tests.unit.batch.fake_runner"
MakeBatch = Callable[..., BatchPlan]


def drained(plan: BatchPlan) -> list[BatchEvent]:
    return list(run_batch(plan, runner=RUNNER))


def statuses(events: list[BatchEvent]) -> dict[str, str]:
    finished = events[-1]
    assert isinstance(finished, BatchFinished)
    return {Path(one.task.plan.teacher_file).stem: one.status for one in finished.outcomes}


def seen(plan: BatchPlan, name: str) -> dict[str, Any]:
    (path,) = Path(plan.out).glob(f"{name}-*/seen.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def summary(plan: BatchPlan) -> list[dict[str, str]]:
    with (Path(plan.out) / "summary.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_that_is_refused_or_killed_does_not_stop_the_others(make_batch: MakeBatch) -> None:
    plan = make_batch("foreign.pth", "dies.pth", "good.pth", "fine.pth")
    events = drained(plan)
    assert statuses(events) == {"foreign": "refused", "dies": "failed", "good": "done", "fine": "done"}
    assert all(is_gone(seen(plan, name)["pid"]) for name in ("dies", "good", "fine")), "no process is kept"
    assert len([event for event in events if isinstance(event, AuditStarted)]) == 4
    assert len([event for event in events if isinstance(event, AuditEnded)]) == 4
    foreign, dies, good, _ = summary(plan)
    assert foreign["message"] == "This is no model. (foreign.pth) It is a web page. Ask its author."
    assert "SIGKILL" in dies["message"] and dies["student_accuracy"] == ""
    assert good["message"] == "" and good["student_asr:sticker"] == "0.5" and good["wall_s"] == "1.5"
    assert all(len(row["sha256"]) == 64 for row in (foreign, dies, good))


def test_a_continued_batch_runs_only_what_is_not_finished(make_batch: MakeBatch) -> None:
    plan = make_batch("dies.pth", "good.pth")
    drained(plan)
    before = seen(plan, "good")
    again = drained(replace(plan, resume=True))
    assert isinstance(again[0], BatchPlanned) and (again[0].audits, again[0].finished) == (2, 1)
    assert statuses(again) == {"dies": "failed", "good": "done"}
    assert seen(plan, "good") == before, "it was not run again"
    assert seen(plan, "dies")["resume"], "it went on where it was"


def test_files_and_seeds_may_be_added_to_a_continued_batch(make_batch: MakeBatch) -> None:
    plan = make_batch("good.pth")
    drained(plan)
    events = drained(make_batch("more.pth", "good.pth", seeds=(0, 1), resume=True))
    assert [type(event) for event in events].count(AuditStarted) == 3
    assert len(summary(plan)) == 4


@pytest.mark.parametrize(
    ("names", "seeds", "missing"),
    [
        (("a.pth",), (0, 1), ["b.pth"]),
        (("a.pth", "b.pth"), (1,), ["seed 0"]),
        (("b.pth", "c.pth"), (0, 2), ["a.pth", "seed 1"]),
    ],
)
def test_fewer_files_or_seeds_would_lose_results_and_are_refused(
    make_batch: MakeBatch, names: tuple[str, ...], seeds: tuple[int, ...], missing: list[str]
) -> None:
    plan = make_batch("a.pth", "b.pth", seeds=(0, 1))
    drained(plan)
    before = {path: path.read_bytes() for path in Path(plan.out).rglob("*") if path.is_file()}
    with pytest.raises(UsageError) as refusal:
        drained(make_batch(*names, seeds=seeds, resume=True))
    given = [name for name in ("a.pth", "b.pth", "seed 0", "seed 1") if name not in missing]
    assert all(name in refusal.value.what for name in missing)
    assert not any(name in refusal.value.what for name in given)
    assert {path: path.read_bytes() for path in Path(plan.out).rglob("*") if path.is_file()} == before


def test_many_missing_files_are_counted(make_batch: MakeBatch) -> None:
    plan = make_batch(*(f"{number}.pth" for number in range(8)))
    BatchFolder(plan).begin()
    with pytest.raises(UsageError, match=r"4\.pth, \S+5\.pth and 2 more\."):
        BatchFolder(replace(plan, files=plan.files[:1], resume=True))


def test_the_same_files_may_be_named_from_another_folder(
    make_batch: MakeBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_batch("good.pth")
    monkeypatch.chdir(tmp_path / "teachers")
    drained(replace(plan, files=("good.pth",)))
    monkeypatch.chdir(tmp_path)
    assert statuses(drained(replace(plan, files=("teachers/good.pth",), resume=True))) == {"good": "done"}


def test_a_run_killed_in_its_first_moment_starts_again(make_batch: MakeBatch) -> None:
    plan = make_batch("good.pth")
    drained(plan)
    folder = Path(plan.tasks()[0].plan.out)
    for file in folder.glob("*.json"):
        file.unlink()
    assert [path.name for path in folder.iterdir()] == ["checkpoint"]
    (folder / "checkpoint" / ".lock").touch()
    (folder / ".plan.json.12345.part").write_text("{")
    assert statuses(drained(replace(plan, resume=True))) == {"good": "done"}


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"plan": 3}', b'{"plan": {}, "teacher": {}}', b"\xff"])
def test_a_damaged_report_is_made_again(make_batch: MakeBatch, content: bytes) -> None:
    plan = make_batch("good.pth")
    drained(plan)
    stored = Path(plan.tasks()[0].plan.out) / "report.json"
    stored.write_bytes(content)
    assert statuses(drained(replace(plan, resume=True))) == {"good": "done"}
    assert json.loads(stored.read_text())["wall_s"] == 1.5


def test_a_file_that_has_changed_is_not_covered_by_its_old_report(make_batch: MakeBatch) -> None:
    plan = make_batch("good.pth")
    drained(plan)
    Path(plan.files[0]).write_bytes(b"other weights")
    assert statuses(drained(replace(plan, resume=True))) == {"good": "failed"}
    assert "has changed" in summary(plan)[0]["message"]


def test_a_file_beside_it_that_has_changed_is_not_covered_either(make_batch: MakeBatch) -> None:
    plan = make_batch("good.onnx")
    data = Path(plan.files[0]).with_name("good.onnx.data")
    data.write_bytes(b"weights")
    drained(plan)
    stored = Path(plan.tasks()[0].plan.out) / "report.json"
    report = json.loads(stored.read_text())
    report["teacher"]["data_files"] = [{"file": data.name, "sha256": hashlib.sha256(b"weights").hexdigest()}]
    stored.write_text(json.dumps(report))
    assert statuses(drained(replace(plan, resume=True))) == {"good": "done"}
    data.write_bytes(b"other weights")
    assert statuses(drained(replace(plan, resume=True))) == {"good": "failed"}
    assert str(data) in summary(plan)[0]["message"]


@pytest.mark.parametrize("name", ["good", "dies"])
def test_other_options_are_another_batch_once_an_audit_has_begun(make_batch: MakeBatch, name: str) -> None:
    plan = make_batch("foreign.pth", f"{name}.pth")
    drained(plan)
    other = replace(plan, options=AuditPlan("", "", steps=3, device="cpu"), resume=True)
    with pytest.raises(UsageError, match="other options"):
        drained(other)


def test_options_with_which_no_audit_could_begin_may_be_corrected(make_batch: MakeBatch) -> None:
    plan = make_batch("foreign.pth", options=AuditPlan("", "", target_class=99, device="cpu"))
    drained(plan)
    corrected = make_batch("foreign.pth", "good.pth", resume=True)
    assert statuses(drained(corrected)) == {"foreign": "refused", "good": "done"}
    assert statuses(drained(corrected)) == {"foreign": "refused", "good": "done"}, "they are the batch's from now on"


def test_files_that_have_gone_since_the_batch_began_are_rows_of_it(make_batch: MakeBatch) -> None:
    plan = make_batch("good.pth", "dies.pth")
    drained(plan)
    for file in plan.files:
        Path(file).unlink()
    more = make_batch("more.pth", resume=True)
    again = drained(replace(more, files=(*plan.files, *more.files)))
    assert isinstance(again[0], BatchPlanned) and again[0].finished == 1
    assert statuses(again) == {"good": "done", "dies": "failed", "more": "done"}
    good, dies, _ = summary(plan)
    assert len(good["sha256"]) == 64 and good["student_accuracy"] == "0.9"
    assert dies["message"].startswith(f"The teacher file is gone. ({plan.files[1]})") and "--resume" in dies["message"]


def test_a_file_that_was_never_there_is_bad_usage_of_a_batch_that_goes_on_too(make_batch: MakeBatch) -> None:
    plan = make_batch("good.pth")
    drained(plan)
    with pytest.raises(UsageError, match="1 of 2 teacher files do not exist") as caught:
        drained(replace(plan, files=(*plan.files, "/no/such.pth"), resume=True))
    assert caught.value.where == "/no/such.pth"


def test_a_pattern_that_no_file_is_left_for_is_told_which_files_the_batch_has(make_batch: MakeBatch) -> None:
    plan = make_batch("good.pth")
    drained(plan)
    Path(plan.files[0]).unlink()
    with pytest.raises(UsageError, match=r"started with more files or seeds: .*good\.pth") as caught:
        drained(replace(plan, files=("*.pth",), resume=True))
    assert "also files that are gone" in caught.value.remedy


@pytest.mark.skipif(sys.platform == "win32", reason="links are made")
def test_a_batch_that_goes_on_knows_its_files_by_other_paths_too(make_batch: MakeBatch, tmp_path: Path) -> None:
    plan = make_batch("good.pth")
    link = tmp_path / "link.pth"
    link.symlink_to(plan.files[0])
    drained(replace(plan, files=(str(link),)))
    for file in (plan.files[0], f"{tmp_path}/teachers/../link.pth"):
        again = drained(replace(plan, files=(file,), resume=True))
        assert [type(event) for event in again].count(AuditStarted) == 0
        assert [row["file"] for row in summary(plan)] == [str(link)]


def test_a_batch_that_knew_two_paths_of_a_file_as_two_files_goes_on(make_batch: MakeBatch, tmp_path: Path) -> None:
    plan = make_batch("good.pth")
    files = (plan.files[0], f"{tmp_path}/teachers/../teachers/good.pth")
    BatchFolder(plan).begin()
    stored = Path(plan.out) / "batch.json"
    stored.write_text(json.dumps(json.loads(stored.read_text()) | {"files": files}))
    drained(replace(plan, files=files, resume=True))
    assert [row["file"] for row in summary(plan)] == list(files)


def test_a_folder_in_use_is_refused_and_left_alone(make_batch: MakeBatch, tmp_path: Path) -> None:
    plan = make_batch("good.pth")
    mine = tmp_path / "out" / "summary.csv"
    mine.parent.mkdir()
    mine.write_text("mine")
    for resume in (False, True):
        with pytest.raises(UsageError):
            drained(replace(plan, resume=resume))
    assert mine.read_text() == "mine" and list(mine.parent.iterdir()) == [mine]
    with pytest.raises(UsageError, match="no batch"):
        drained(replace(plan, out=str(tmp_path / "absent"), resume=True))


def test_closing_the_batch_ends_its_processes_and_keeps_a_summary(make_batch: MakeBatch) -> None:
    plan = make_batch("good.pth", "waits1.pth", "waits2.pth", "later.pth", jobs=3)
    with contextlib.closing(run_batch(plan, runner=RUNNER)) as events:
        for _ in range(2):
            next(event for event in events if isinstance(event, AuditEnded))
        limit_s = time.monotonic() + 20
        while len(list(Path(plan.out).glob("waits*/seen.json"))) < 2 and time.monotonic() < limit_s:
            time.sleep(0.05)
        pids = [seen(plan, name)["pid"] for name in ("waits1", "waits2")]
        assert not any(map(is_gone, pids))
    assert all(map(is_gone, pids))
    assert [row["status"] for row in summary(plan)] == ["done", "unfinished", "unfinished", "done"]


def test_engines_that_are_ended_before_their_first_checkpoint_leave_no_folder(make_batch: MakeBatch) -> None:
    plan = make_batch("deaf.pth", "waits.pth")
    with contextlib.closing(run_batch(plan, runner=RUNNER)) as events:
        for _ in range(2):
            next(event for event in events if isinstance(event, AuditStarted))
        limit_s = time.monotonic() + 20
        while len([*Path(plan.out).glob("deaf*/plan.json"), *Path(plan.out).glob("waits*/seen.json")]) < 2:
            assert time.monotonic() < limit_s
            time.sleep(0.05)
        time.sleep(0.2)  # whoever wrote them has closed them
    assert [path.name.partition("-")[0] for path in Path(plan.out).iterdir() if path.is_dir()] == ["waits"]


def test_each_audit_is_confined_to_its_slot(make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_pool, "_cores", lambda: 6)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    plan = make_batch("a.pth", jobs=2)
    drained(plan)
    assert seen(plan, "a")["OMP_NUM_THREADS"] == "3"
    alone = make_batch("a.pth", jobs=1, out=plan.out + "2")
    drained(alone)
    assert seen(alone, "a")["OMP_NUM_THREADS"] == "7", "one alone keeps what the user gave"
    assert os.environ["OMP_NUM_THREADS"] == "7"
