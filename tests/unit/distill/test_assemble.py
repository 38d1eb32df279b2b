"""From teacher and recipe to a run: starts, pairings, choices and refusals."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from abd_app.distill import assemble as module
from abd_app.distill.answering import SecondOpinion
from abd_app.distill.assemble import assemble, build_student
from abd_app.distill.compute.device import Compute
from abd_app.distill.defences import vaccine
from abd_app.distill.defences.retrospection import PaperRetrospection
from abd_app.distill.defences.vaccine import VaccineError
from abd_app.distill.loop import Distillation
from abd_app.distill.recipe import choose_recipe
from abd_app.distill.sources import fast
from abd_app.distill.sources.cmi import CmiSettings
from abd_app.distill.sources.fast import FastSettings, InvertedPatchSource
from abd_app.distill.sources.ood import BalancedPatchSource, PatchSettings
from abd_app.distill.sources.patches import PatchSource
from abd_app.distill.unlearning import margins
from abd_app.distill.unlearning.teacher_retrospection import TeacherRetrospection
from abd_app.errors import UsageError
from abd_app.events import StepDone
from abd_app.networks.pixels import PixelNetwork
from abd_app.plan import STUDENTS
from abd_app.teacher import ImageSpec, Teacher
from tests.short_unlearning import SHORT_UNLEARNING, shorten_searches

_FAST = FastSettings(drawn=16, first=32, inverted=8, inversion_steps=2, student_steps=5, capacity=64)
_CMI = CmiSettings(drawn=16, noise=16, features=16, bank=64, capacity=64)
_PATCHES = PatchSettings(drawn=32, first=64)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_searches(monkeypatch)
    monkeypatch.setattr(vaccine, "CHECK_IMAGES", 100)
    monkeypatch.setattr(margins, "SIGNIFICANT", 1.1)  # of a random teacher's classes none stands out


def _assemble(teacher: Teacher, compute: Compute, picture: str, method: str = "ood", **options: Any) -> Distillation:
    recipe = replace(
        choose_recipe(method, "abd", "quick", 6),
        batch_size=8,
        unlearning=SHORT_UNLEARNING,
        epoch=(2, 5),
        **options.pop("changes", {}),
    )
    usual = {"student_name": "wrn-10-1", "seed": 0, "picture": picture, "fast": _FAST, "cmi": _CMI, "patches": _PATCHES}
    return assemble(teacher, recipe, compute=compute, **(usual | options))


def _start(distillation: Distillation) -> list[torch.Tensor]:
    return list(distillation.student.network.state_dict().values())


def test_student_and_twin_of_one_seed_start_from_the_same_weights(
    make_teacher: Callable[..., Teacher], compute: Compute, picture: str
) -> None:
    teacher = make_teacher()
    student = _assemble(teacher, compute, picture, seed=5)
    undefended = choose_recipe("ood", "abd", "quick", 6).undefended()
    twin = assemble(teacher, undefended, student_name="wrn-10-1", compute=compute, seed=5, role="twin", picture=picture)
    other = _assemble(teacher, compute, picture, seed=6)
    assert all(torch.equal(a, b) for a, b in zip(_start(student), _start(twin), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(_start(student), _start(other), strict=True))


@pytest.mark.parametrize(("side", "inverted"), [(8, 256), (7, 128)])
def test_of_larger_images_fewer_are_inverted_at_a_time(
    make_teacher: Callable[..., Teacher],
    compute: Compute,
    picture: str,
    monkeypatch: pytest.MonkeyPatch,
    side: int,
    inverted: int,
) -> None:
    monkeypatch.setattr(fast, "_SMALL_PX", side)
    source = _assemble(make_teacher(), compute, picture, method="fast", fast=None)._source
    assert isinstance(source, InvertedPatchSource)
    assert (source._settings.inverted, source._settings.inversion_steps) == (inverted, 6)


def test_the_teacher_unlearns_from_images_that_are_inverted_further(
    make_teacher: Callable[..., Teacher], compute: Compute, picture: str
) -> None:
    retrospection = _assemble(make_teacher(), compute, picture, method="fast")._retrospection
    assert isinstance(retrospection, TeacherRetrospection)
    pool = retrospection._make_pool()
    assert isinstance(pool, InvertedPatchSource)
    assert pool._settings.inverted == SHORT_UNLEARNING.drawn
    assert pool._settings.inversion_steps == SHORT_UNLEARNING.inversion_steps > FastSettings.inversion_steps


@pytest.mark.parametrize("name", [name for name in STUDENTS if name not in ("auto", "purified")])
def test_every_student_of_the_plan_can_be_built_and_answers(name: str) -> None:
    network = build_student(name, ImageSpec(32, 32, 1, 5, (0.5,), (0.5,)), seed=0)
    assert network(torch.rand(2, 1, 32, 32)).shape == (2, 5)


def test_a_student_that_no_file_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ImageSpec(8, 8, 3, 4, (0.5,) * 3, (0.5,) * 3)
    weights = 4 * sum(parameter.numel() for parameter in build_student("wrn-10-1", spec, seed=0).parameters())
    monkeypatch.setattr(module, "ONNX_BYTES", weights)
    build_student("wrn-10-1", spec, seed=0)
    monkeypatch.setattr(module, "ONNX_BYTES", weights - 1)
    with pytest.raises(UsageError, match="wrn-10-1 is too large for a student"):
        build_student("wrn-10-1", spec, seed=0)


def test_a_student_normalises_as_its_teacher_or_around_the_middle() -> None:
    stated = build_student("wrn-10-1", ImageSpec(8, 8, 3, 4, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), seed=0)
    assert stated.mean.flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])
    assert stated.std.flatten().tolist() == pytest.approx([0.2, 0.3, 0.4])
    inside = build_student("wrn-10-1", ImageSpec(8, 8, 3, 4, (0.0,) * 3, (1.0,) * 3), seed=0)
    assert inside.mean.flatten().tolist() == [0.5] * 3 and inside.std.flatten().tolist() == [0.25] * 3


@pytest.mark.parametrize("method", ["ood", "cmi", "fast", "zskt"])
@pytest.mark.parametrize(("height", "width", "channels"), [(8, 12, 3), (12, 8, 1), (9, 9, 1)])
def test_every_method_works_on_grey_and_oblong_images(
    make_teacher: Callable[..., Teacher],
    compute: Compute,
    picture: str,
    method: str,
    height: int,
    width: int,
    channels: int,
) -> None:
    teacher = make_teacher(height=height, width=width, channels=channels)
    steps = [one for one in _assemble(teacher, compute, picture, method).run() if isinstance(one, StepDone)]
    assert steps[-1].step == 6
    assert any("unlearning" in one.losses for one in steps)


@pytest.mark.parametrize("method", ["ood", "cmi", "fast", "zskt"])
def test_every_method_works_in_bfloat16(make_teacher: Callable[..., Teacher], picture: str, method: str) -> None:
    compute = Compute(torch.device("cpu"), bf16=True)
    distillation = _assemble(make_teacher(), compute, picture, method)
    assert [one for one in distillation.run() if isinstance(one, StepDone)][-1].step == 6
    assert all(value.dtype != torch.bfloat16 for value in _start(distillation))


def test_attention_is_transferred_only_between_matching_stages(
    make_teacher: Callable[..., Teacher], compute: Compute, picture: str
) -> None:
    teacher = make_teacher("wrn-16-2")
    alike = _assemble(teacher, compute, picture, "zskt", student_name="wrn-10-1")
    assert alike.student._block_names == ("network.block1", "network.block2", "network.block3")
    for other in (
        _assemble(teacher, compute, picture, "zskt", student_name="mobilenetv3-small"),
        _assemble(teacher, compute, picture, "ood"),
        _assemble(replace(teacher, block_names=()), compute, picture, "zskt"),
    ):
        assert other.student._block_names == ()


def test_the_recipe_chooses_the_retrospection(
    make_teacher: Callable[..., Teacher], compute: Compute, picture: str
) -> None:
    teacher = make_teacher()
    kinds = {"paper": PaperRetrospection, "teacher": TeacherRetrospection, "none": type(None)}
    for name, kind in kinds.items():
        distillation = _assemble(teacher, compute, picture, changes={"retrospection": name})
        assert isinstance(distillation._retrospection, kind)


def test_the_recipe_chooses_the_patches(make_teacher: Callable[..., Teacher], compute: Compute, picture: str) -> None:
    for balanced, kind in ((True, BalancedPatchSource), (False, PatchSource)):
        assert type(_assemble(make_teacher(), compute, picture, changes={"balanced": balanced})._source) is kind


@pytest.mark.parametrize("changes", [({"temperature": 1.0}, {"temperature": 4.0}), ({"leeway": 0.0}, {"leeway": 1.0})])
def test_labels_are_made_for_the_temperature_and_leeway_of_the_recipe(
    make_teacher: Callable[..., Teacher], compute: Compute, picture: str, changes: tuple[dict[str, float], ...]
) -> None:
    """At which none is to hint at a doubted class, and by more than which."""
    teacher, found = make_teacher(), []
    for change in changes:
        recipe = replace(choose_recipe("ood", "none", "quick", 20), **change)  # type: ignore[arg-type]
        answering = assemble(
            teacher, recipe, student_name="wrn-10-1", compute=compute, seed=0, picture=picture
        )._teacher
        random = torch.Generator().manual_seed(0)
        images = torch.rand(200, 3, 1, 1, generator=random) * torch.rand(200, 3, 8, 8, generator=random)
        other = copy.deepcopy(answering.network)
        weight = other.get_submodule("network.fc").weight.data
        weight += 2 * weight.std() * torch.randn(weight.shape, generator=random)
        rarest = int(answering(images).logits.argmax(1).bincount(minlength=4).argmin())
        answering.second_opinion = SecondOpinion(other, (rarest,))
        found.append(answering.label(images).logits)
    assert not torch.allclose(*found, atol=1e-3)


def test_the_recipe_says_how_long_cmis_epochs_are(
    make_teacher: Callable[..., Teacher], compute: Compute, picture: str
) -> None:
    distillation = _assemble(make_teacher(), compute, picture, "cmi", changes={"retrospection": "none"})
    steps = [one.step for one in distillation.run() if isinstance(one, StepDone)]
    assert steps == [0, 0, 1, 2, 3, 4, 5, 5, 5, 6]


def test_a_teacher_without_layers_to_shuffle_is_told_apart(
    make_teacher: Callable[..., Teacher], compute: Compute, picture: str
) -> None:
    plain = make_teacher()
    body = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    network = PixelNetwork(body, mean=plain.spec.mean, std=plain.spec.std).eval().requires_grad_(False)
    teacher = Teacher(network, plain.spec, plain.card)
    with pytest.raises(VaccineError):
        _assemble(teacher, compute, picture)
    assert list(_assemble(teacher, compute, picture, changes={"vaccine": "none"}).run())


def test_a_picture_that_cannot_be_used_is_refused(
    make_teacher: Callable[..., Teacher], compute: Compute, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="The picture for patches does not exist"):
        _assemble(make_teacher(), compute, str(tmp_path / "absent.png"))


@pytest.mark.parametrize("method", ["ood", "cmi", "fast", "zskt"])
def test_the_teacher_that_was_handed_in_stays_as_it_is(
    make_teacher: Callable[..., Teacher], compute: Compute, picture: str, method: str
) -> None:
    teacher = make_teacher()
    before = {name: value.clone() for name, value in teacher.network.state_dict().items()}
    list(_assemble(teacher, compute, picture, method).run())
    assert all(torch.equal(before[name], value) for name, value in teacher.network.state_dict().items())
    assert _hooks(teacher.network) == 0
    assert all(parameter.grad is None for parameter in teacher.network.parameters())


def _hooks(network: torch.nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())
