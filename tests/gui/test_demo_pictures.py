"""The README's pictures show what was recorded: no path of the machine, no invented figure, every state."""

from __future__ import annotations

import dataclasses
import gzip
import sys
from pathlib import Path

import pytest

from abd_app.demo import demo_plan
from abd_app.events import AuditFinished, CostEstimated, DevicesListed, ImagesDrawn, StepDone, TeacherInspected
from abd_app.gui.look.theme import Theme
from abd_app.plan import AuditPlan
from abd_app.worker.messages import AuditJob, InspectionFinished, InspectJob

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

import make_screenshots
from made_up_run import card, made_up_run
from record_demo import thinned, without_paths
from recorded_run import Said, read_recording, to_lines


@pytest.fixture
def plan(tmp_path: Path) -> AuditPlan:
    return demo_plan(str(tmp_path / "results"))


@pytest.fixture
def conversation(plan: AuditPlan) -> list[Said]:
    opened = TeacherInspected(card(plan.teacher_file, (), ()))
    report = {"summary": "Done.", "plan": plan.to_dict(), "teacher": {"accuracy": 0.9, "asr": {"sticker": 1.0}}}
    messages = [
        DevicesListed((("cpu", "CPU", 0),)),
        InspectJob(plan.teacher_file, plan.facts),
        opened,
        CostEstimated("ood", "no reason", {"quick": 1.0}),
        InspectionFinished(),
        AuditJob(plan),
        opened,
        *made_up_run(True, ("sticker",), 1.0),
        AuditFinished(plan.out, report),
    ]
    return [Said(float(second), message) for second, message in enumerate(messages)]


@pytest.fixture
def file(conversation: list[Said], plan: AuditPlan, tmp_path: Path) -> Path:
    path = tmp_path / "run.jsonl.gz"
    path.write_bytes(gzip.compress(without_paths(to_lines(conversation), plan).encode()))
    return path


def test_the_recording_that_the_pictures_are_made_of_can_be_read() -> None:
    recording = read_recording()
    assert isinstance(recording.run[-1].message, AuditFinished)
    assert recording.plan.compare and recording.plan.teacher_file == "teacher.safetensors"


def test_a_recording_reads_back_without_paths(file: Path, conversation: list[Said]) -> None:
    recording = read_recording(file)
    assert (recording.plan.teacher_file, recording.plan.data, recording.plan.out) == (
        "teacher.safetensors",
        "evaluation.npz",
        "demo-run",
    )
    assert [said.elapsed_s for said in recording.run] == [said.elapsed_s for said in conversation[6:]]
    finished = recording.run[-1].message
    assert isinstance(finished, AuditFinished)
    assert finished.folder == finished.report["plan"]["out"] == "demo-run"


def test_a_path_that_nobody_renames_is_refused(conversation: list[Said], plan: AuditPlan) -> None:
    other = Said(0.0, InspectJob(str(Path(plan.teacher_file).with_name("other.npz")), plan.facts))
    with pytest.raises(ValueError, match="still tells of"):
        without_paths(to_lines([*conversation, other]), plan)


def test_thinning_keeps_losses_measurements_and_the_last_images() -> None:
    steps = [StepDone("student", step, 40, step / 40, {"distillation": 1.0} if step == 7 else {}) for step in range(41)]
    drawn = next(event for event in made_up_run(False, (), 0.0) if isinstance(event, ImagesDrawn))
    conversation = [Said(0.0, message) for message in (drawn, *steps, drawn, drawn)]
    kept = thinned(conversation)
    assert [said.message.step for said in kept if isinstance(said.message, StepDone)] == [0, 7, 10, 20, 30, 40]
    assert [id(said) for said in kept if isinstance(said.message, ImagesDrawn)] == [id(s) for s in conversation[-2:]]


def test_the_running_picture_ends_when_the_network_that_learns_last_is_halfway(file: Path) -> None:
    shown = read_recording(file).until_last_is_halfway()
    assert {said.message.role for said in shown if isinstance(said.message, StepDone)} == {"twin", "student"}
    last = [said.message.step for said in shown if isinstance(said.message, StepDone)][-1]
    assert last == 1200


def test_without_a_twin_the_running_picture_ends_when_the_student_is_halfway(file: Path) -> None:
    whole = read_recording(file)
    alone = [said for said in whole.run if getattr(said.message, "role", "student") != "twin"]
    shown = dataclasses.replace(whole, run=tuple(alone)).until_last_is_halfway()
    assert {said.message.role for said in shown if isinstance(said.message, StepDone)} == {"student"}
    assert [said.message.step for said in shown if isinstance(said.message, StepDone)][-1] == 1200


@pytest.mark.parametrize("name", make_screenshots.README_PICTURES)
def test_every_picture_renders_from_a_recording(name: str, file: Path, theme: Theme, tmp_path: Path) -> None:
    out = tmp_path / "pictures"
    out.mkdir()
    make_screenshots.render(theme, name, "1280x800", out, read_recording(file))
    (picture,) = out.iterdir()
    assert picture.stat().st_size > 10_000
