"""The run's folder: nothing of the user's is lost, and a run that goes on is the same run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from abd_app.audit.folder import RunFolder
from abd_app.errors import RunFailedError, UsageError
from abd_app.plan import AuditPlan, TeacherFacts, TriggerSpec
from abd_app.run_files import file_sha256

MakePlan = Callable[..., AuditPlan]


def _begun(plan: AuditPlan) -> RunFolder:
    folder = RunFolder(plan)
    folder.begin()
    return folder


def test_a_new_folder_gets_the_plan_and_only_when_the_run_begins(make_plan: MakePlan) -> None:
    plan = make_plan()
    folder = RunFolder(plan)
    assert not folder.path.exists()
    folder.begin()
    assert AuditPlan.from_json((folder.path / "plan.json").read_text()) == plan
    assert (folder.path / "checkpoint").is_dir()


def test_an_empty_folder_and_missing_parents_are_fine(make_plan: MakePlan, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert _begun(make_plan(out=str(tmp_path / "empty"))).path.is_dir()
    assert _begun(make_plan(out=str(tmp_path / "a" / "b" / "c"))).path.is_dir()


def test_a_folder_in_use_is_not_touched(make_plan: MakePlan, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="in use") as caught:
        RunFolder(make_plan(out=str(tmp_path)))
    assert "--resume" not in caught.value.remedy and caught.value.where == str(tmp_path), "there is no run in it"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_what_another_process_of_the_run_tries_there_is_not_in_the_way(make_plan: MakePlan, tmp_path: Path) -> None:
    (tmp_path / "empty" / ".abd-app-try-1").mkdir(parents=True)
    RunFolder(make_plan(out=str(tmp_path / "empty")))


def test_a_file_in_place_of_the_folder_is_refused(make_plan: MakePlan, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("mine")
    with pytest.raises(UsageError) as caught:
        RunFolder(make_plan(out=str(path)))
    assert caught.value.why == "It is a file."
    with pytest.raises(UsageError, match="cannot be made there") as below:
        RunFolder(make_plan(out=str(path / "two" / "below")))
    assert below.value.why == f"{path} is not a folder."
    assert path.read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that refuses new folders")
def test_a_place_that_cannot_be_written_to_is_refused_before_the_run(make_plan: MakePlan) -> None:
    with pytest.raises(UsageError, match="cannot be made there") as caught:
        RunFolder(make_plan(out="/proc/abd-app/run"))
    assert caught.value.where == "/proc/abd-app/run" and caught.value.remedy
    assert caught.value.why.startswith("/proc cannot be written: ")


def test_a_place_that_has_gone_meanwhile_is_named(make_plan: MakePlan, tmp_path: Path) -> None:
    with (
        pytest.raises(RunFailedError, match="cannot be written") as caught,
        RunFolder(make_plan(out=str(tmp_path / "a" / "run"))) as folder,
    ):
        (tmp_path / "a").write_text("a file by now")
        folder.begin()
    assert caught.value.where == str(folder.path) and caught.value.why and caught.value.remedy
    assert caught.value.exit_code == 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_keeps_the_last_checkpoint(make_plan: MakePlan) -> None:
    plan = make_plan()
    folder = _begun(plan)
    folder.save_checkpoint({"step": 1, "weights": torch.ones(3)})
    (folder.path / "checkpoint" / "state.tmp").symlink_to("/dev/full")
    with pytest.raises(RunFailedError, match="cannot be written") as caught:
        folder.save_checkpoint({"step": 2, "weights": torch.zeros(100_000)})
    assert "whole" in caught.value.why and "--resume" in caught.value.remedy
    state = RunFolder(dataclasses.replace(plan, resume=True)).load_checkpoint()
    assert state is not None and state["step"] == 1
    assert not [path for path in (folder.path / "checkpoint").iterdir() if path.suffix == ".tmp"]


def test_errors_while_writing_name_the_cause_and_no_checkpoint_that_is_not_there(make_plan: MakePlan) -> None:
    folder = _begun(make_plan())
    with pytest.raises(RunFailedError) as caught, folder.writing():
        raise OSError(28, "No space left on device")
    assert caught.value.why == "No space left on device" and "--resume" not in caught.value.remedy


def test_a_checkpoint_comes_back_as_it_was(make_plan: MakePlan) -> None:
    plan = make_plan()
    _begun(plan).save_checkpoint({"role": "twin", "student": {"a": torch.arange(3)}, "none": None})
    resumed = RunFolder(dataclasses.replace(plan, resume=True))
    resumed.begin()
    state = resumed.load_checkpoint()
    assert state is not None and state["role"] == "twin" and torch.equal(state["student"]["a"], torch.arange(3))
    assert AuditPlan.from_json((resumed.path / "plan.json").read_text()) == plan


def test_a_run_that_ended_before_its_first_checkpoint_starts_again(make_plan: MakePlan) -> None:
    plan = make_plan()
    _begun(plan)
    assert RunFolder(dataclasses.replace(plan, resume=True)).load_checkpoint() is None


def test_a_damaged_checkpoint_is_refused(make_plan: MakePlan) -> None:
    plan = make_plan()
    folder = _begun(plan)
    folder.save_checkpoint({"weights": torch.ones(3)})
    stored = folder.path / "checkpoint" / "state.pt"
    stored.write_bytes(stored.read_bytes()[:100])
    with pytest.raises(UsageError, match="checkpoint") as caught:
        RunFolder(dataclasses.replace(plan, resume=True)).load_checkpoint()
    assert caught.value.where == str(stored)


def test_a_checkpoint_that_memory_does_not_hold_is_not_called_damaged(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan()
    _begun(plan).save_checkpoint({"weights": torch.ones(3)})

    def load(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(RunFailedError, match="not enough memory") as caught:
        RunFolder(dataclasses.replace(plan, resume=True)).load_checkpoint()
    assert "Delete" not in caught.value.remedy


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("steps", 3),
        ("seed", 1),
        ("defense", "sv"),
        ("method", "fast"),
        ("triggers", (TriggerSpec("blend"),)),
        ("facts", TeacherFacts(input_size=(16, 16))),
    ],
)
def test_other_options_are_another_run(make_plan: MakePlan, option: str, value: object) -> None:
    plan = make_plan()
    _begun(plan)
    with pytest.raises(UsageError, match="other options") as caught:
        RunFolder(dataclasses.replace(plan, resume=True, **{option: value}))
    assert f"{option} " in caught.value.why.lower() and " before, " in caught.value.why


def test_a_resumed_run_may_be_resumed_again_and_its_folder_moved(make_plan: MakePlan, tmp_path: Path) -> None:
    plan = make_plan(triggers=(TriggerSpec("blend", opacity=0.5),), data="x.npz")
    _begun(plan).path.rename(tmp_path / "moved")
    moved = dataclasses.replace(plan, resume=True, out=str(tmp_path / "moved"))
    for _ in range(2):
        with RunFolder(moved) as folder:
            folder.begin()


def test_a_run_that_ends_without_a_checkpoint_leaves_no_folder(make_plan: MakePlan, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for path in (mine / "a" / "run", mine):
        with pytest.raises(KeyboardInterrupt), RunFolder(make_plan(out=str(path))) as folder:
            folder.begin()
            raise KeyboardInterrupt
        assert mine.is_dir() and list(mine.iterdir()) == [], "what was there before stays"


@pytest.mark.parametrize("kept", ["checkpoint/state.pt", "checkpoint/notes.txt", "student.onnx", "thesis.txt"])
def test_what_a_run_has_written_or_anybody_else_stays(make_plan: MakePlan, kept: str) -> None:
    with pytest.raises(RuntimeError), RunFolder(make_plan()) as folder:
        folder.begin()
        (folder.path / kept).write_text("worth something")
        raise RuntimeError
    assert (folder.path / kept).read_text() == "worth something" and (folder.path / "plan.json").is_file()


def test_a_run_that_goes_on_keeps_its_plan(make_plan: MakePlan) -> None:
    plan = make_plan()
    _begun(plan)
    with pytest.raises(KeyboardInterrupt), RunFolder(dataclasses.replace(plan, resume=True)) as folder:
        folder.begin()
        raise KeyboardInterrupt
    assert (folder.path / "plan.json").is_file()


def _finished(folder: RunFolder, teacher_file: str, **changes: object) -> dict[str, object]:
    report = {"summary": "Good.", "student": {}, "teacher": {"sha256": file_sha256(teacher_file)}, **changes}
    (folder.path / "report.json").write_text(json.dumps(report))
    return report


def test_a_run_with_a_whole_report_is_finished(make_plan: MakePlan, teacher_file: str) -> None:
    plan = make_plan()
    folder = _begun(plan)
    report = _finished(folder, teacher_file)
    assert folder.finished() is None, "only one that is to go on has been run before"
    goes_on = dataclasses.replace(plan, resume=True)
    assert RunFolder(goes_on).finished() == report
    _finished(folder, teacher_file, summary=None)
    assert RunFolder(goes_on).finished() is None
    (folder.path / "report.json").write_text('{"summary"')
    assert RunFolder(goes_on).finished() is None


def test_a_finished_run_of_another_file_is_not_given_again(make_plan: MakePlan, teacher_file: str) -> None:
    plan = make_plan()
    _finished(_begun(plan), teacher_file, teacher={"sha256": "ab" * 32})
    with pytest.raises(UsageError, match="changed since the run was finished") as caught:
        RunFolder(dataclasses.replace(plan, resume=True)).finished()
    assert caught.value.where == teacher_file


def test_two_processes_do_not_write_one_run(make_plan: MakePlan) -> None:
    plan = make_plan()
    folder = _begun(plan)
    with pytest.raises(UsageError, match="still going on"), RunFolder(dataclasses.replace(plan, resume=True)) as second:
        second.begin()
    folder.__exit__(None, None, None)
    RunFolder(dataclasses.replace(plan, resume=True)).begin()


def test_options_are_the_same_from_another_folder(
    make_plan: MakePlan, teacher_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(teacher_file).parent)
    plan = make_plan(teacher_file=Path(teacher_file).name)
    _begun(plan)
    RunFolder(dataclasses.replace(plan, teacher_file=teacher_file, resume=True))
    RunFolder(dataclasses.replace(plan, resume=True))


def test_a_run_that_is_to_be_kept_keeps_its_plan(make_plan: MakePlan) -> None:
    with pytest.raises(GeneratorExit), RunFolder(make_plan(), keeps=lambda: True) as folder:
        folder.begin()
        raise GeneratorExit
    assert (folder.path / "plan.json").is_file()


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\xfe\x00", b'{"teacher_file": "a"', b"[1]"])
def test_what_is_no_run_cannot_go_on(make_plan: MakePlan, tmp_path: Path, content: bytes | None) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    if content is not None:
        (folder / "plan.json").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        RunFolder(make_plan(resume=True))
    assert caught.value.remedy


def test_of_two_runs_that_begin_in_one_folder_the_second_changes_nothing(make_plan: MakePlan, tmp_path: Path) -> None:
    first, second = (RunFolder(make_plan(out=str(tmp_path / "out"), seed=seed)) for seed in (1, 2))
    with first:
        first.begin()
        with pytest.raises(UsageError, match="still going on"), second:
            second.begin()
        assert json.loads((first.path / "plan.json").read_text())["seed"] == 1
    with pytest.raises(UsageError, match="already in use") as caught, second:
        second.begin()
    assert json.loads((first.path / "plan.json").read_text())["seed"] == 1 and caught.value.remedy
