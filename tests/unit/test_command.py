from __future__ import annotations

import shlex

import pytest

from abd_app.command import (
    plan_to_command,
    size_from_text,
    target_from_text,
    trigger_from_text,
    trigger_keys,
    trigger_label,
    trigger_labels,
    values_from_text,
)
from abd_app.errors import UsageError
from abd_app.plan import AuditPlan, TeacherFacts, TriggerSpec


@pytest.mark.parametrize(
    ("text", "trigger"),
    [
        ("sticker", TriggerSpec("sticker")),
        ("my pictures/cat, sitting.png", TriggerSpec("my pictures/cat, sitting.png")),
        ("/a,b=1.png,scale=0.3", TriggerSpec("/a,b=1.png", scale=0.3)),
        ("cat.png,position=center", TriggerSpec("cat.png", position="center")),
        ("blend,opacity=0.15", TriggerSpec("blend", opacity=0.15)),
        (
            "cat.png,position=top-left,opacity=0.5,scale=0.3,mask=m,1.png",
            TriggerSpec("cat.png", "top-left", 0.5, 0.3, "m,1.png"),
        ),
    ],
)
def test_triggers_read_and_write_the_same_text(text: str, trigger: TriggerSpec) -> None:
    assert trigger_from_text(text) == trigger
    assert str(trigger) == text


def test_a_trigger_is_called_by_its_name_and_a_variant_with_its_options() -> None:
    grid, faint = TriggerSpec("badnets-grid"), TriggerSpec("badnets-grid", opacity=0.5)
    left, middle = TriggerSpec("/my/cat.png", "top-left", scale=0.3), TriggerSpec("/my/cat.png", "center", scale=0.3)
    assert trigger_keys([faint, left]) == ["badnets-grid", "/my/cat.png"], "what it is called in scripts of users"
    assert trigger_keys([grid, faint, left, middle, TriggerSpec("sig")]) == [
        *("badnets-grid", "badnets-grid,opacity=0.5"),
        *("/my/cat.png,position=top-left,scale=0.3", "/my/cat.png,position=center,scale=0.3", "sig"),
    ]


def test_a_trigger_is_shown_without_folders() -> None:
    variant = "/my/cat, sitting.png,position=top-left,mask=/masks/m.png"
    assert trigger_label(variant) == "cat, sitting.png,position=top-left,mask=m.png"
    assert trigger_label("/a/x,y=1.png") == "x,y=1.png" and trigger_label("sig") == "sig"
    assert trigger_label("/a/right\u202eleft.png") == r"right\u202eleft.png"


def test_pictures_of_one_name_are_told_apart_by_their_folders() -> None:
    labels = trigger_labels(["sig", "/r/one/a.png", "/r/two/a.png", "/r/one/b.png"])
    assert [label.replace("\\", "/") for label in labels.values()] == ["sig", "one/a.png", "two/a.png", "b.png"]


def test_triggers_of_one_picture_are_told_apart_by_the_folders_of_their_masks() -> None:
    labels = trigger_labels(["/r/a.png,mask=/r/one/m.png", "/r/a.png,mask=/r/two/m.png", "b.png,mask=m.png"])
    shown = [label.replace("\\", "/") for label in labels.values()]
    assert shown == ["a.png,mask=one/m.png", "a.png,mask=two/m.png", "b.png,mask=m.png"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",opacity=0.5",
        "cat.png,colour=red",
        "sig,position=center,opacty=0.5",
        "cat.png,scale=0.2,scale=0.3",
        "cat.png,opacity=half",
        "sig,scale=2",
    ],
)
def test_a_bad_trigger_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        trigger_from_text(text)
    assert caught.value.where.startswith("--trigger")
    assert caught.value.remedy


def test_a_target_is_a_class_or_all() -> None:
    assert target_from_text("7") == 7
    assert target_from_text(" all ") == "all"
    assert plan_to_command(AuditPlan("t.pt", "r", target_class="all")) == "abd-app distill t.pt --out r --target all"


@pytest.mark.parametrize("text", ["", "-1", "next", "1.0", "²"])
def test_a_bad_target_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a class") as caught:
        target_from_text(text)
    assert caught.value.where == "--target" and "all" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "size"), [("32x48", (32, 48)), ("32X48", (32, 48)), ("32 × 48", (32, 48)), ("224", (224, 224))]
)
def test_sizes_are_height_then_width(text: str, size: tuple[int, int]) -> None:
    assert size_from_text(text) == size


@pytest.mark.parametrize("text", ["", "32x", "x32", "32x32x3", "-32x32", "1.5x2", "big"])
def test_a_bad_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        size_from_text(text)


def test_channel_values_are_numbers() -> None:
    assert values_from_text("0.5, 0.25,-1", where="--mean") == (0.5, 0.25, -1.0)
    with pytest.raises(UsageError) as caught:
        values_from_text("0.5,,1", where="--mean")
    assert caught.value.where == "--mean"


def test_a_plain_plan_is_a_short_line() -> None:
    assert plan_to_command(AuditPlan("teacher.pt", "result")) == "abd-app distill teacher.pt --out result"


def test_the_line_is_quoted_for_a_shell() -> None:
    line = plan_to_command(AuditPlan("-my teacher's.pt", "a b", triggers=(TriggerSpec("x;rm -rf.png"),)))
    assert shlex.split(line) == [
        *("abd-app", "distill", "./-my teacher's.pt"),
        *("--out", "a b", "--trigger", "x;rm -rf.png"),
    ]


def test_every_choice_is_in_the_line() -> None:
    facts = TeacherFacts("wrn-16-2", 10, (32, 48), (0.5, 0.4, 0.3), (0.2, 0.2, 0.1), "probabilities")
    plan = AuditPlan(
        "t.pt", "r", facts, method="ood", steps=5, target_class=2, compare=True, picture="p.jpg", resume=True
    )
    assert plan_to_command(plan) == (
        "abd-app distill t.pt --out r --arch wrn-16-2 --classes 10 --size 32x48 --mean 0.5,0.4,0.3 --std 0.2,0.2,0.1 "
        "--answers probabilities --method ood --steps 5 --target 2 --picture p.jpg --compare --resume"
    )
