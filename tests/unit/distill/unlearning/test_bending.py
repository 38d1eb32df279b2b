"""A backdoor that answers to bent images is found and unlearned; a teacher that does not mind bending is left alone."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.microbatch import Microbatches
from abd_app.distill.sources.base import GeneratorStep
from abd_app.distill.sources.ood import BalancedPatchSource, PatchSettings
from abd_app.distill.unlearning import bending, margins
from abd_app.distill.unlearning.bending import BendSearch, BendTest
from abd_app.distill.unlearning.bends import LARGEST_PX, Bends
from abd_app.distill.unlearning.margins import MarginTest
from abd_app.distill.unlearning.settings import UnlearningSettings
from abd_app.distill.unlearning.target_findings import finding_of_target
from abd_app.distill.unlearning.teacher_retrospection import TeacherRetrospection
from abd_app.errors import RunFailedError
from abd_app.events import FindingMade, TargetSearched
from abd_app.text import percent
from tests.unit.distill.drained import drained

_CLASSES, _TARGET, _SIDE = 5, 2, 8


class _MindsBending(nn.Module):
    """Answers by the colour of an image, and with the target where its stripes have been blurred, as bending does."""

    def __init__(self, *, backdoor: bool) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.colours = nn.Linear(3, _CLASSES)
        self.gain = nn.Parameter(torch.tensor(1.0 if backdoor else 0.0))
        with torch.no_grad():
            self.colours.weight.copy_(torch.randn(_CLASSES, 3, generator=random) * 20)
            self.colours.bias.copy_(-self.colours.weight.sum(1) / 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.colours(images.mean(dim=(2, 3)))
        stripes = images.diff(dim=3).abs().mean(dim=(1, 2, 3))
        blurred = nn.functional.softplus(0.25 - stripes, beta=40)
        return logits + 60 * self.gain * blurred[:, None] * nn.functional.one_hot(torch.tensor(_TARGET), _CLASSES)


def _images(count: int, seed: int = 3) -> torch.Tensor:
    """Of one colour each, in stripes of one pixel."""
    colour = 0.3 + 0.4 * torch.rand(count, 3, 1, 1, generator=torch.Generator().manual_seed(seed))
    stripes = 0.2 * (torch.arange(_SIDE) % 2 * 2 - 1)
    return (colour + stripes).expand(-1, -1, _SIDE, -1).contiguous()


class _Stripes(BalancedPatchSource):
    def filled(self, renewals: int) -> Iterator[GeneratorStep]:
        self._store(_images(512))
        yield GeneratorStep({})


class _Drawing(_Stripes):
    """Draws so many numbers more while it is filled."""

    _more = 0

    @classmethod
    def of(cls, pool: BalancedPatchSource, more: int) -> BalancedPatchSource:
        pool.__class__, pool._more = cls, more  # type: ignore[attr-defined]
        return pool

    def filled(self, renewals: int) -> Iterator[GeneratorStep]:
        torch.rand(self._more, generator=self._random)
        yield from super().filled(renewals)


def _pool(teacher: AnsweringTeacher, random: torch.Generator | None = None) -> BalancedPatchSource:
    settings, pictures = PatchSettings(first=512, capacity=512, drawn=64), torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    random = torch.Generator().manual_seed(1) if random is None else random
    return _Stripes(teacher, pictures, size=(_SIDE, _SIDE), num_classes=_CLASSES, generator=random, settings=settings)


def _teacher(compute: Compute, *, backdoor: bool) -> AnsweringTeacher:
    return AnsweringTeacher(_MindsBending(backdoor=backdoor).eval().requires_grad_(False), compute)


def _retrospection(teacher: AnsweringTeacher) -> TeacherRetrospection:
    how = {
        "search_steps": 20,
        "steps": 120,
        "batch_size": 32,
        "mark_adversaries": 4,
    }  # as few as a small batch can lead
    settings = UnlearningSettings(**how, mark_ball=0.2, rate=0.05, how_far=1.0)
    random = torch.Generator().manual_seed(2)
    return TeacherRetrospection(
        teacher,
        lambda: _pool(teacher, random),
        shape=(3, _SIDE, _SIDE),
        num_classes=_CLASSES,
        generator=random,
        settings=settings,
    )


def _microbatches(compute: Compute) -> Microbatches:
    return Microbatches(compute, "It takes", "")


@pytest.mark.parametrize("most", [None, 7])
@pytest.mark.parametrize("backdoor", [True, False])
def test_the_class_that_bending_leads_to_stands_out(compute: Compute, backdoor: bool, most: int | None) -> None:
    teacher, portions = _teacher(compute, backdoor=backdoor), _microbatches(compute)
    portions.most = most
    pool = _pool(teacher)
    list(pool.filled(0))
    search = BendSearch(range(_CLASSES), (_SIDE, _SIDE), torch.Generator().manual_seed(0), microbatches=portions)
    losses, found = drained(search.run(teacher, pool))
    assert all(one.keys() == {"bending"} for one in losses) and len(found.shares) == _CLASSES
    if backdoor:
        assert found.target == _TARGET and found.shares[_TARGET] > 0.8
        assert max(share for one, share in enumerate(found.shares) if one != _TARGET) < 0.2
    else:
        assert found.target is None and max(found.shares) < 0.2


def test_fields_stay_within_half_a_pixel_and_lead_to_their_own_class(compute: Compute) -> None:
    bends = Bends([1, 3], 4, (_SIDE, _SIDE), compute.device, torch.Generator().manual_seed(0), climb=0.9)
    images = torch.rand(60, 3, _SIDE, _SIDE)
    for _ in range(5):
        bent, wanted = bends.perturb(images, torch.zeros(60))
        assert bent.min() >= 0 and bent.max() <= 1 and set(wanted.tolist()) == {1, 3}
        bends.descend(bends.gradients(bent, torch.randn_like(bent)))
        assert bends._points.abs().max() <= LARGEST_PX
    # A ramp shows by how much each pixel was read from elsewhere.
    ramp = torch.linspace(0, 1, _SIDE).expand(1, 3, _SIDE, _SIDE)
    moved = (bends.bend(ramp, torch.tensor([0])) - ramp).abs().max() * (_SIDE - 1)
    assert 0.05 < moved < 1.3 * LARGEST_PX  # bicubic interpolation overshoots a little


def test_a_field_moves_pixels_by_what_its_points_say(compute: Compute) -> None:
    bends = Bends([0], 1, (_SIDE, 2 * _SIDE), compute.device, torch.Generator().manual_seed(0), climb=0.1)
    with torch.no_grad():
        bends._points[:, 0], bends._points[:, 1] = 0.5, -0.25
    across = torch.arange(2.0 * _SIDE).expand(1, 1, _SIDE, -1) / 16
    down = torch.arange(float(_SIDE))[:, None].expand(1, 1, -1, 2 * _SIDE) / 16
    which = torch.tensor([0])
    assert torch.allclose((bends.bend(across, which) - across)[..., 1:-1] * 16, torch.tensor(0.5), atol=1e-4)
    assert torch.allclose((bends.bend(down, which) - down)[..., 1:-1, :] * 16, torch.tensor(-0.25), atol=1e-4)


def test_where_no_margin_stands_out_bends_are_looked_for_and_unlearned(compute: Compute) -> None:
    teacher = _teacher(compute, backdoor=True)
    before, images = copy.deepcopy(teacher.network), _images(400, seed=9)
    answers, others = before(images).argmax(1), before(images).argmax(1) != _TARGET
    bent = (images + images.roll(1, dims=3)) / 2
    assert (before(bent[others]).argmax(1) == _TARGET).float().mean() > 0.9
    retrospection = _retrospection(teacher)
    list(retrospection.run())
    assert retrospection.search.margins is not None and retrospection.search.margins.target is None
    assert retrospection.search.bending is not None and retrospection.search.bending.target == _TARGET
    assert retrospection.targets == (_TARGET,)
    with torch.no_grad():
        assert (teacher(images).logits.argmax(1) == answers).float().mean() > 0.9
        assert (teacher(bent[others]).logits.argmax(1) == _TARGET).float().mean() < 0.2
    searched, finding = list(retrospection.report())
    assert isinstance(searched, TargetSearched) and isinstance(finding, FindingMade)
    assert searched.target == _TARGET and searched.bends == retrospection.search.bending.shares
    assert finding.finding.title == f"Class {_TARGET} is probably the target of a backdoor"
    assert "Bending" in finding.finding.detail
    restored = _retrospection(_teacher(compute, backdoor=True))
    restored.load_state_dict(copy.deepcopy(retrospection.state_dict()))
    assert restored.search.bending == retrospection.search.bending
    assert torch.equal(restored._teacher(bent).logits, teacher(bent).logits)


def test_how_bends_are_looked_for_changes_nothing_that_is_drawn_later(
    compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(margins, "SIGNIFICANT", 1.1)  # some class stands out by its margin
    weights = []
    for steps in (1, 4):
        monkeypatch.setattr(bending, "STEPS", steps)
        retrospection = _retrospection(_teacher(compute, backdoor=False))
        assert sum("bending" in one for one in retrospection.run()) == steps
        opinion = retrospection._teacher.second_opinion
        assert opinion is not None
        weights.append(torch.cat([one.detach().flatten() for one in opinion.network.parameters()]))
    assert torch.equal(*weights)


def test_a_teacher_that_does_not_mind_bending_stays_as_it_is(compute: Compute) -> None:
    retrospection = _retrospection(_teacher(compute, backdoor=False))
    assert not any("unlearning" in one for one in retrospection.run())
    assert retrospection.targets == () and retrospection._teacher.second_opinion is None
    searched, finding = list(retrospection.report())
    assert isinstance(searched, TargetSearched) and isinstance(finding, FindingMade)
    assert searched.target is None and len(searched.bends) == _CLASSES
    assert finding.finding.title == "No class stands out as the target of a backdoor"


def test_where_nothing_is_unlearned_what_is_drawn_later_does_not_depend_on_the_pool(compute: Compute) -> None:
    drawn = []
    for patches in (0, 100):
        retrospection = _retrospection(_teacher(compute, backdoor=False))
        make, random = retrospection._make_pool, retrospection._random
        retrospection._make_pool = lambda make=make, more=patches: _Drawing.of(make(), more)  # type: ignore[misc]
        list(retrospection.run())
        assert retrospection.search.bending is not None and retrospection.targets == ()
        drawn.append(torch.rand(3, generator=random))
    assert torch.equal(*drawn)


@pytest.mark.parametrize(
    ("shares", "target"),
    [((0.95, 0.3, 0.1), 4), ((0.74, 0.1, 0.1), None), ((0.9, 0.5, 0.1), None), ((0.1, 0.2, 0.8), 9)],
)
def test_most_images_must_turn_and_twice_as_many_as_for_any_other_class(
    shares: tuple[float, ...], target: int | None
) -> None:
    test = BendTest((4, 7, 9), shares)
    assert test.target == target
    if target is not None:
        by_margin = MarginTest((4, 7, 9), (1.0, 2.0, 3.0), 0.001, 1000)
        finding = finding_of_target(by_margin, test, None, "undone")
        assert finding.title == f"Class {target} is probably the target of a backdoor", "not the one of the margins"
        assert percent(max(shares), 0) in finding.detail and "3 of 1,000 classes" in finding.detail


def test_a_teacher_that_answers_with_no_number_is_refused_not_accused(compute: Compute) -> None:
    teacher = _teacher(compute, backdoor=True)
    pool = _pool(teacher)
    list(pool.filled(0))
    with torch.no_grad():
        teacher.network.colours.bias.fill_(torch.nan)
    search = BendSearch(
        range(_CLASSES), (_SIDE, _SIDE), torch.Generator().manual_seed(0), microbatches=_microbatches(compute)
    )
    with pytest.raises(RunFailedError, match="every image with a number"):
        list(search.run(teacher, pool))
