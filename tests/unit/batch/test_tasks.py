from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from abd_app.batch import BatchPlan
from abd_app.batch.tasks import folder_name
from abd_app.errors import UsageError
from abd_app.plan import AuditPlan, TeacherFacts, TriggerSpec

MakeBatch = Callable[..., BatchPlan]


def test_every_file_is_audited_with_every_seed_in_the_order_given(make_batch: MakeBatch) -> None:
    tasks = make_batch("b.pth", "a.pth", seeds=(3, 1)).tasks()
    named = [(Path(task.plan.teacher_file).name, task.plan.seed) for task in tasks]
    assert named == [("b.pth", 3), ("b.pth", 1), ("a.pth", 3), ("a.pth", 1)]
    assert all(task.plan.steps == 2 for task in tasks)


def test_what_is_named_twice_is_audited_once(make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_batch("a.pth", seeds=(0, 0))
    monkeypatch.chdir(Path(plan.files[0]).parent)
    again = make_batch("a.pth", files=(plan.files[0], "a.pth"), seeds=(0, 0))
    assert len(plan.tasks()) == len(again.tasks()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="links are made")
def test_two_paths_of_one_file_are_one_and_the_first_is_opened(make_batch: MakeBatch, tmp_path: Path) -> None:
    file = make_batch("a/blob").files[0]
    (tmp_path / "one.pth").symlink_to(file)
    (tmp_path / "two.pth").symlink_to(file)
    around = f"{tmp_path}/teachers/a/../a/blob"
    for files in ((f"{tmp_path}/one.pth", f"{tmp_path}/two.pth", file), (around, file), (file, around)):
        tasks = make_batch("a/blob", files=files).tasks()
        assert [task.plan.teacher_file for task in tasks] == [files[0]]


def test_folders_of_different_audits_never_collide() -> None:
    files = ["/x/a.pth", "/y/a.pth", "/x/a.onnx", "/x/A.pth", "/x/a b.pth", "/x/a_b.pth", "/x/a?b.pth", "/x/ä.pth"]
    names = {folder_name(file, seed).casefold() for file in files for seed in (0, 1, 10)}
    assert len(names) == 3 * len(files)


@pytest.mark.parametrize("stem", ["..", "-rf", "<b>", "a\nb", "con", "名前", "x" * 250, "a/../b", "\udcff"])
def test_folder_names_are_plain_on_every_system(stem: str) -> None:
    name = folder_name(f"/teachers/{stem}.pth", 7)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}-seed7", name)
    assert name == folder_name(f"/teachers/{stem}.pth", 7)


def test_adding_files_does_not_rename_a_folder(make_batch: MakeBatch) -> None:
    alone = make_batch("x/a.pth").tasks()[0]
    together = make_batch("y/a.pth", "x/a.pth").tasks()
    assert alone in together and len({task.folder for task in together}) == 2


def test_paths_mean_the_same_on_every_machine(
    make_batch: MakeBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("images.npz", "sign.png", "mask.png"):
        (tmp_path / name).write_bytes(b"x")
    triggers = (TriggerSpec("sign.png", mask="mask.png"), TriggerSpec("sticker"))
    options = AuditPlan("", "", TeacherFacts(), data="images.npz", triggers=triggers)
    plan = make_batch("a.pth", options=options, out="out").tasks()[0].plan
    assert plan.data == str(tmp_path / "images.npz")
    assert plan.triggers[0] == TriggerSpec(str(tmp_path / "sign.png"), mask=str(tmp_path / "mask.png"))
    assert plan.triggers[1].name == "sticker"
    assert Path(plan.out).parent == tmp_path / "out"


def test_paths_that_are_not_there_are_told_before_anything_starts(make_batch: MakeBatch) -> None:
    with pytest.raises(UsageError, match="1 of 2 teacher files") as caught:
        make_batch("a.pth", files=(__file__, "/no/such.pth"))
    assert caught.value.where == "/no/such.pth"
    with pytest.raises(UsageError, match="images"):
        make_batch("a.pth", options=AuditPlan("", "", data="/no/such.npz"))


@pytest.mark.parametrize("changes", [{"jobs": 0}, {"seeds": ()}, {"files": ()}])
def test_a_batch_of_nothing_is_bad_usage(make_batch: MakeBatch, changes: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        make_batch("a.pth", **changes)


def test_a_seed_out_of_range_is_bad_usage(make_batch: MakeBatch) -> None:
    with pytest.raises(UsageError, match="Seed -1") as caught:
        make_batch("a.pth", seeds=(0, -1))
    assert caught.value.where == "--seeds", "the batch has no --seed"
