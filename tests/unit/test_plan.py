from __future__ import annotations

import json
from typing import Any

import pytest

from abd_app.errors import UsageError
from abd_app.plan import AuditPlan, TeacherFacts, TriggerSpec

FULL = AuditPlan(
    teacher_file="teacher.pt",
    out="result",
    facts=TeacherFacts("wrn-16-2", 10, (32, 48), (0.5, 0.4, 0.3), (0.2, 0.2, 0.1), "logits"),
    method="ood",
    defense="sv",
    student="wrn-16-1",
    effort="paper",
    minutes=2.5,
    device="cpu",
    seed=7,
    precision="fp32",
    data="images",
    triggers=(TriggerSpec("sticker"), TriggerSpec("a.png", "center", 0.5, 0.3, "mask.png")),
    target_class=3,
    compare=True,
    picture="street.jpg",
    resume=True,
)


@pytest.mark.parametrize("plan", [FULL, AuditPlan("teacher.pt", "result")])
def test_a_plan_survives_json(plan: AuditPlan) -> None:
    assert AuditPlan.from_json(plan.to_json()) == plan


def test_all_to_all_survives_json_and_a_plan_of_before_still_loads() -> None:
    plan = AuditPlan("teacher.pt", "result", target_class="all")
    assert json.loads(plan.to_json())["target_class"] == "all"
    assert AuditPlan.from_json(plan.to_json()) == plan
    old = '{"teacher_file": "a.pt", "out": "b", "triggers": [{"name": "sig"}], "target_class": 3}'
    assert AuditPlan.from_json(old) == AuditPlan("a.pt", "b", triggers=(TriggerSpec("sig"),), target_class=3)


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"method": "magic"}, "--method"),
        ({"method": "dafl"}, "--method"),
        ({"defense": "prayer"}, "--defense"),
        ({"student": "vgg"}, "--student"),
        ({"effort": "none"}, "--effort"),
        ({"device": "tpu"}, "--device"),
        ({"precision": "fp8"}, "--precision"),
        ({"steps": 0}, "--steps"),
        ({"minutes": 0.0}, "--minutes"),
        ({"minutes": float("nan")}, "--minutes"),
        ({"minutes": float("inf")}, "--minutes"),
        ({"steps": 1, "minutes": 1.0}, "--steps, --minutes"),
        ({"seed": -1}, "--seed"),
        ({"seed": 2**31}, "--seed"),
        ({"target_class": -1}, "--target"),
        ({"target_class": "next"}, "--target"),
        ({"target_class": 1.5}, "--target"),
        ({"student": "purified", "compare": True}, "--compare"),
        ({"student": "purified", "steps": 9}, "--steps"),
        ({"student": "purified", "minutes": 9.0}, "--minutes"),
        ({"student": "purified", "effort": "paper"}, "--effort paper"),
        ({"student": "purified", "defense": "sv"}, "--defense"),
        ({"triggers": (TriggerSpec("sig", opacity=0.5), TriggerSpec("sig", opacity=0.5))}, "--trigger"),
    ],
)
def test_an_impossible_plan_names_its_option_and_a_remedy(changes: dict[str, Any], option: str) -> None:
    with pytest.raises(UsageError) as caught:
        AuditPlan("teacher.pt", "result", **changes)
    assert caught.value.where == option
    assert caught.value.remedy


def test_one_trigger_may_be_measured_in_variants_and_a_change_of_one_is_named() -> None:
    before = AuditPlan("a.pt", "b", triggers=(TriggerSpec("sig"), TriggerSpec("sig", opacity=0.5)))
    now = AuditPlan("a.pt", "b", triggers=(TriggerSpec("sig"), TriggerSpec("sig", opacity=0.25)))
    assert now.described_changes(before) == "triggers sig, sig,opacity=0.5 before, sig, sig,opacity=0.25 now"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"steps": 0}, "A run cannot have 0 steps."),
        ({"minutes": 0.0}, "A run cannot last 0 minutes."),
        ({"student": "purified", "steps": 9}, "--steps cannot be combined with --student purified."),
    ],
)
def test_a_refusal_is_a_plain_sentence(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError) as caught:
        AuditPlan("teacher.pt", "result", **changes)
    assert caught.value.what == what


def test_an_unknown_choice_lists_what_there_is() -> None:
    with pytest.raises(UsageError, match="'dafl'") as caught:
        AuditPlan("teacher.pt", "result", method="dafl")
    assert "auto, cmi, fast, ood, zskt" in caught.value.remedy


@pytest.mark.parametrize(
    ("facts", "option"),
    [
        ({"num_classes": 1}, "--classes"),
        ({"input_size": (7, 32)}, "--size"),
        ({"input_size": (32, 1025)}, "--size"),
        ({"mean": (0.5,)}, "--mean, --std"),
        ({"mean": (0.5,), "std": (0.2, 0.2, 0.2)}, "--mean, --std"),
        ({"mean": (0.5, 0.5), "std": (0.2, 0.2)}, "--mean, --std"),
        ({"mean": (0.5,), "std": (0.0,)}, "--mean, --std"),
        ({"mean": (0.5,), "std": (float("inf"),)}, "--mean, --std"),
        ({"mean": (float("nan"),), "std": (0.5,)}, "--mean, --std"),
    ],
)
def test_impossible_facts_name_their_option(facts: dict[str, Any], option: str) -> None:
    with pytest.raises(UsageError) as caught:
        TeacherFacts(**facts)
    assert caught.value.where == option
    assert caught.value.remedy


@pytest.mark.parametrize("values", [{"position": "left"}, {"opacity": 0.0}, {"opacity": 1.1}, {"scale": 0.0}])
def test_an_impossible_trigger_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        TriggerSpec("sticker", **values)
    assert caught.value.where == "--trigger"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"teacher_file": "a", "out": "b", "learning_rate": 3}',
        '{"teacher_file": "a", "out": "b", "steps": "many"}',
        '{"teacher_file": "a", "out": "b", "facts": 3}',
        '{"teacher_file": "a", "out": "b", "data": 5}',
        '{"teacher_file": "a", "out": "b", "compare": "no"}',
        '{"teacher_file": "a", "out": "b", "seed": 1.5}',
        '{"teacher_file": "a", "out": "b", "facts": {"input_size": [32]}}',
        '{"teacher_file": "a", "out": "b", "target_class": "most"}',
        '{"teacher_file": "a", "out": "b", "minutes": 1' + 400 * "0" + "}",
        '{"teacher_file": "a", "out": "b", "triggers": [{"colour": "red"}]}',
    ],
)
def test_what_is_not_a_plan_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        AuditPlan.from_json(text)


def test_a_plan_read_from_json_is_validated() -> None:
    raw = json.loads(AuditPlan("teacher.pt", "result").to_json())
    with pytest.raises(UsageError, match="Unknown device"):
        AuditPlan.from_json(json.dumps(raw | {"device": "abacus"}))
