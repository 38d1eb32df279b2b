from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from abd_app.errors import UsageError
from abd_app.gui.setup.answers import with_answers
from abd_app.gui.setup.draft import Draft
from abd_app.plan import AuditPlan, TeacherFacts, TriggerSpec

NOW = datetime(2026, 11, 22, 10, 30)


def test_a_run_gets_a_fresh_folder_named_by_time_and_teacher(tmp_path: Path) -> None:
    draft = Draft(tmp_path)
    first = draft.plan("/models/модель (2).pth", TeacherFacts(), now=NOW).out
    assert first == str(tmp_path / "2026-11-22_10-30-00-модель_2")
    Path(first).mkdir()
    assert draft.plan("/models/модель (2).pth", TeacherFacts(), now=NOW).out == first + "-2"


def test_a_chosen_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    draft = Draft(tmp_path)
    (tmp_path / "mine").mkdir()
    draft.choose(out=str(tmp_path / "mine"))
    assert draft.plan("t.pth", TeacherFacts()).out == str(tmp_path / "mine")
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not empty"):
        draft.plan("t.pth", TeacherFacts())


def test_a_chosen_folder_that_may_not_be_looked_into_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", closed)
    draft = Draft(tmp_path)
    draft.choose(out=str(tmp_path))
    with pytest.raises(UsageError, match="cannot be looked into") as refusal:
        draft.plan("t.pth", TeacherFacts())
    assert (refusal.value.where, refusal.value.why) == (str(tmp_path), "Permission denied.")


def test_another_teacher_keeps_habits_and_forgets_the_rest(tmp_path: Path) -> None:
    draft = Draft(tmp_path)
    draft.replace(
        AuditPlan("a", "b", effort="paper", seed=5, data="d", triggers=(TriggerSpec("sig"),), target_class=4, minutes=1)
    )
    draft.forget_teacher()
    assert (draft["effort"], draft["seed"]) == ("paper", 5)
    assert (draft["data"], draft["triggers"], draft["target_class"]) == ("d", (TriggerSpec("sig"),), 4)
    assert (draft["minutes"], draft["out"]) == (None, "")


def test_an_unknown_choice_is_a_mistake_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        Draft(tmp_path).choose(methode="auto")


def test_answers_become_facts() -> None:
    facts = with_answers(
        TeacherFacts(num_classes=10, answers="logits"),
        {"architecture": " wrn-16-2 ", "input_size": "32x48", "mean_std": "0.5,0.4,.3 / 0.2, 0.1, 1e-1"},
    )
    assert facts == TeacherFacts("wrn-16-2", 10, (32, 48), (0.5, 0.4, 0.3), (0.2, 0.1, 0.1), "logits")
    assert with_answers(TeacherFacts(), {"input_size": ""}) == TeacherFacts()


def test_what_was_expected_of_an_answer_is_told() -> None:
    with pytest.raises(UsageError, match="are 2 or 6 numbers, not 1"):
        with_answers(TeacherFacts(), {"mean_std": "0.5"})


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        ("input_size", "big"),
        ("input_size", "4x4"),
        ("mean_std", "0.5"),
        ("mean_std", "0.5,0.5,0.5/0,0,0"),
    ],
)
def test_answers_that_make_no_sense_are_refused(fact: str, text: str) -> None:
    with pytest.raises(UsageError):
        with_answers(TeacherFacts(), {fact: text})
