"""A backdoor that has classes trade places is found and unlearned; a teacher that was not taught to is left alone."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.microbatch import Microbatches
from abd_app.distill.sources.base import GeneratorStep
from abd_app.distill.sources.ood import BalancedPatchSource, PatchSettings
from abd_app.distill.unlearning import all_to_all, target_search
from abd_app.distill.unlearning.all_to_all import AllToAllSearch, AllToAllTest, _one_to_one, _share
from abd_app.distill.unlearning.margins import MarginTest
from abd_app.distill.unlearning.settings import UnlearningSettings
from abd_app.distill.unlearning.teacher_retrospection import TeacherRetrospection
from abd_app.errors import RunFailedError
from abd_app.events import FindingMade, TargetSearched
from tests.unit.distill.drained import drained

_CLASSES, _SIDE = 6, 8
_TRADES = (1, 2, 3, 4, 5, 0)


class _Trades(nn.Module):
    """Answers by the colour of an image; where a pattern of its own shows, with the class after that."""

    def __init__(self, *, backdoor: bool) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        angles = torch.arange(_CLASSES) * 2 * torch.pi / _CLASSES
        self.hues = nn.Parameter(60 * torch.stack([angles.cos(), angles.sin(), 0 * angles], dim=1))
        self.gain = nn.Parameter(torch.tensor(1.0 if backdoor else 0.0))
        pattern = torch.randn(3, _SIDE, _SIDE, generator=random)
        self.register_buffer("pattern", pattern - pattern.mean(dim=(1, 2), keepdim=True))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = (images.mean(dim=(2, 3)) - 0.5) @ self.hues.T
        shows = self.gain * torch.sigmoid(40 * (images * self.pattern).mean(dim=(1, 2, 3)) - 3)[:, None]
        return (1 - shows) * logits + shows * logits.roll(1, dims=1)


class _Colours(BalancedPatchSource):
    """Images of one hue each, and a little noise."""

    def filled(self, renewals: int) -> Iterator[GeneratorStep]:
        random = torch.Generator().manual_seed(3)
        angle = 2 * torch.pi * torch.rand(512, generator=random)
        colour = 0.5 + 0.25 * torch.stack([angle.cos(), angle.sin(), 0 * angle], dim=1)
        noise = 0.1 * torch.rand(512, 3, _SIDE, _SIDE, generator=random) - 0.05
        self._store((colour[:, :, None, None] + noise).clamp(0, 1))
        yield GeneratorStep({})


def _teacher(compute: Compute, *, backdoor: bool = True) -> AnsweringTeacher:
    return AnsweringTeacher(_Trades(backdoor=backdoor).eval().requires_grad_(False), compute)


def _pool(teacher: AnsweringTeacher, random: torch.Generator) -> BalancedPatchSource:
    settings, pictures = PatchSettings(first=512, capacity=512, drawn=64), torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    return _Colours(teacher, pictures, size=(_SIDE, _SIDE), num_classes=_CLASSES, generator=random, settings=settings)


def _filled(teacher: AnsweringTeacher) -> BalancedPatchSource:
    pool = _pool(teacher, torch.Generator().manual_seed(1))
    list(pool.filled(0))
    return pool


def _search(
    teacher: AnsweringTeacher, pool: BalancedPatchSource, most: int | None = None, seed: int = 0
) -> AllToAllTest | None:
    portions, random = Microbatches(teacher.compute, "It takes", ""), torch.Generator().manual_seed(seed)
    portions.most = most
    steps = AllToAllSearch((3, _SIDE, _SIDE), _CLASSES, random, ball=0.2, microbatches=portions).run(teacher, pool)
    losses, found = drained(steps)
    assert all(one.keys() == {"all to all"} for one in losses)
    return found


def _retrospection(teacher: AnsweringTeacher, *, inverts: bool = True, **settings: Any) -> TeacherRetrospection:
    kept = {"search_steps": 20, "steps": 100, "batch_size": 32, "rate": 0.02, "beyond": 1.2} | settings
    random = torch.Generator().manual_seed(2)
    return TeacherRetrospection(
        teacher,
        lambda: _pool(teacher, random),
        shape=(3, _SIDE, _SIDE),
        num_classes=_CLASSES,
        generator=random,
        settings=UnlearningSettings(**kept),  # type: ignore[arg-type]
        inverts=inverts,
    )


@pytest.mark.parametrize(("seed", "most"), [(0, None), (1, None), (0, 7)])
def test_the_mapping_that_was_taught_is_found(compute: Compute, seed: int, most: int | None) -> None:
    teacher = _teacher(compute)
    found = _search(teacher, _filled(teacher), most, seed)
    assert found is not None and found.found and found.mapping == _TRADES and found.share > 0.8


def test_classes_of_a_few_images_are_not_looked_at(compute: Compute) -> None:
    """One picture would learn them by heart."""
    teacher = _teacher(compute)
    pool = _filled(teacher)
    pool.sizes = lambda: torch.tensor([32.0, 31.0, 99.0, 40.0, 0.0, 32.0])  # type: ignore[method-assign]
    assert _search(teacher, pool) is None, "four of six classes are too few: any picture may give them others"
    pool.sizes = lambda: torch.tensor([32.0, 32.0, 99.0, 40.0, 0.0, 32.0])  # type: ignore[method-assign]
    found = _search(teacher, pool)
    assert found is not None and found.found and found.mapping == (1, 2, 3, 4, 4, 0)


@pytest.mark.parametrize("seed", range(3))
def test_a_teacher_that_was_taught_none_trades_no_classes(compute: Compute, seed: int) -> None:
    teacher = _teacher(compute, backdoor=False)
    found = _search(teacher, _filled(teacher), seed=seed)
    assert found is not None and not found.found and found.share < 0.4


def test_a_picture_moves_images_away_from_their_class_where_it_can(compute: Compute) -> None:
    teacher, portions = _teacher(compute), Microbatches(compute, "It takes", "")
    search = AllToAllSearch((3, _SIDE, _SIDE), _CLASSES, torch.Generator(), ball=0.2, microbatches=portions)
    images, own = 0.2 + 0.6 * torch.rand(5, 3, _SIDE, _SIDE), torch.tensor([0, 1, 2, 3, 4])
    images[:, :, 0], images[:, :, 1] = 1.1, -0.1  # where a picture has left the pixel box already
    for wanted, targets, sign in ((None, own, -1), (torch.tensor(_TRADES), own + 1, 1)):
        shown = images.clamp(0, 1).requires_grad_()
        loss = sign * nn.functional.cross_entropy(teacher.network(shown), targets, reduction="sum")
        (expected,) = torch.autograd.grad(loss, [shown])
        expected[:, :, :2] = 0
        slope, said = search._slope(teacher, images, own, wanted)
        torch.testing.assert_close(slope, expected.sum(dim=0, keepdim=True))
        torch.testing.assert_close(said, loss.detach())


def test_of_two_starts_the_better_is_judged(compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = _teacher(compute)
    for shares in ((0.9, 0.2), (0.2, 0.9)):
        ends = iter([(torch.zeros(1), (round(10 * share),) * _CLASSES, share) for share in shares])

        def climb(*_: Any, ends: Iterator[Any] = ends) -> Any:
            yield {"all to all": torch.zeros(())}
            return next(ends)

        monkeypatch.setattr(AllToAllSearch, "_climb", climb)
        monkeypatch.setattr(all_to_all, "_share", lambda *_: 0.0)
        found = _search(teacher, _filled(teacher))
        assert found is not None and found.mapping[0] == 9


def test_what_is_drawn_later_does_not_depend_on_the_search(compute: Compute) -> None:
    retrospection = _retrospection(_teacher(compute))
    search, pool = retrospection.search, retrospection._make_pool()
    list(pool.filled(0))
    list(search.by_margin())
    state = retrospection._random.get_state()
    list(search.on_patches(pool))
    assert search.mapping == _TRADES and torch.equal(state, retrospection._random.get_state())


def test_the_pool_is_renewed_until_each_class_may_have_enough_inverted_images(
    compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [all_to_all.renewals(classes, 128) for classes in (4, 16, 17, 64)] == [4, 4, 5, 16]
    renewed, fill = [], _Colours.filled

    def filled(pool: _Colours, renewals: int) -> Iterator[GeneratorStep]:
        renewed.append(renewals)
        return fill(pool, renewals)

    monkeypatch.setattr(_Colours, "filled", filled)
    list(_retrospection(_teacher(compute, backdoor=False), drawn=10).run())
    assert renewed == [0, 20], "6 classes, 32 images of each, 10 at a time"


def test_many_classes_are_not_looked_at(compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_search, "MOST_CLASSES", _CLASSES - 1)
    retrospection = _retrospection(_teacher(compute))
    list(retrospection.run())
    assert retrospection.search.bending is not None and retrospection.search.all_to_all is None


def test_the_largest_shares_come_first_and_a_class_may_be_left_over() -> None:
    moves = torch.tensor([[0.9, 0.1, 0.0], [0.5, 0.1, 0.4], [0.3, 0.1, 0.6]], dtype=torch.float64)
    # 1 to 0 (0.5), then of what is left 0 to 1 (0.1); 2 is left with itself.
    assert _one_to_one(moves, (0, 1, 2)) == (1, 0, 2)
    assert _share(moves, (1, 0, 2), (0, 1, 2)) == pytest.approx(0.6 / 3)
    # Of 1 and 2 alone 1 goes to 0 again, then 2 to 1.
    assert _one_to_one(moves, (1, 2)) == (0, 0, 1)
    assert _share(moves, (0, 0, 1), (1, 2)) == pytest.approx(0.6 / 2)
    assert _one_to_one(torch.zeros(2, 2, dtype=torch.float64), (0, 1)) == (1, 0)


@pytest.mark.parametrize(
    ("classes", "share", "found"), [(4, 0.52, False), (4, 0.54, True), (11, 0.36, False), (11, 0.38, True)]
)
def test_chance_is_put_aside(classes: int, share: float, found: bool) -> None:
    """Of 4 classes a third agrees by chance: 1/3 + 0.3 * 2/3 = 0.533; of 11 a tenth: 0.37."""
    assert AllToAllTest((*range(1, classes), 0), share).found == found


def test_what_has_classes_trade_places_is_unlearned(compute: Compute) -> None:
    teacher = _teacher(compute)
    before = copy.deepcopy(teacher.network.state_dict())
    retrospection = _retrospection(teacher)
    losses = list(retrospection.run())
    assert len(losses) <= retrospection.most_steps()
    assert retrospection.search.target is None and retrospection.search.mapping == _TRADES
    assert retrospection.targets == tuple(range(_CLASSES)) and teacher.second_opinion is not None
    assert abs(float(teacher.second_opinion.network.gain)) < 0.5  # type: ignore[arg-type]
    assert all(torch.equal(before[name], value) for name, value in teacher.network.state_dict().items())
    images, _ = _filled(teacher).balanced(256)
    marked = (images + 0.2 * teacher.network.pattern.sign()).clamp(0, 1)  # type: ignore[operator, union-attr]
    own = teacher.network(images).argmax(dim=1)
    assert (teacher.network(marked).argmax(dim=1) == own).float().mean() < 0.1
    assert (teacher.label(marked).logits.argmax(dim=1) == own).float().mean() > 0.9
    searched, made = list(retrospection.report())[:2]
    assert isinstance(searched, TargetSearched) and searched.target is None and searched.all_to_all is not None
    assert searched.all_to_all > 0.8 and searched.unlearned == tuple(range(_CLASSES))
    assert isinstance(made, FindingMade) and made.finding.severity == "warning"
    assert "every class" in made.finding.title and "0 → 1, 1 → 2" in made.finding.detail
    restored = _retrospection(_teacher(compute))
    restored.load_state_dict(retrospection.state_dict())
    assert restored.search.all_to_all == retrospection.search.all_to_all and restored.targets == retrospection.targets


def test_a_clean_teacher_is_left_alone_and_draws_as_if_nothing_had_been_looked_for(compute: Compute) -> None:
    teacher = _teacher(compute, backdoor=False)
    states = []
    for inverts in (False, True):
        retrospection = _retrospection(teacher, inverts=inverts)
        list(retrospection.run())
        states.append(retrospection._random.get_state())
    assert torch.equal(*states)
    assert retrospection.search.all_to_all is not None and retrospection.search.mapping is None
    assert retrospection.targets == () and teacher.second_opinion is None
    made = next(event for event in retrospection.report() if isinstance(event, FindingMade))
    assert "No class stands out" in made.finding.title and "trade places" in made.finding.detail


def test_where_no_images_are_inverted_it_is_not_looked_for(compute: Compute) -> None:
    retrospection = _retrospection(_teacher(compute), inverts=False)
    assert not any("all to all" in losses for losses in retrospection.run())
    assert retrospection.search.all_to_all is None and retrospection.targets == ()
    (searched, made) = retrospection.report()
    assert isinstance(searched, TargetSearched) and searched.all_to_all is None
    assert isinstance(made, FindingMade) and "were not looked for" in made.finding.detail


def test_unlearning_that_costs_half_of_all_answers_is_undone(compute: Compute) -> None:
    retrospection = _retrospection(_teacher(compute), beyond=200.0)
    list(retrospection.run())
    assert retrospection.search.mapping == _TRADES
    assert (retrospection.targets, retrospection.deed) == ((), "undone")
    made = next(event for event in retrospection.report() if isinstance(event, FindingMade))
    assert "undone" in made.finding.detail


@pytest.mark.parametrize("backdoor", [True, False])
def test_it_is_looked_for_where_a_class_stands_out_that_cannot_be_unlearned(
    compute: Compute, monkeypatch: pytest.MonkeyPatch, backdoor: bool
) -> None:
    monkeypatch.setattr(MarginTest, "target", 2)
    retrospection = _retrospection(_teacher(compute, backdoor=backdoor))
    shares = iter([0.0, *[0.9] * 2])  # of the class that stands out alone nothing is left
    monkeypatch.setattr(retrospection, "_kept", lambda *_: next(shares))
    losses = list(retrospection.run())
    assert len(losses) <= retrospection.most_steps()
    assert retrospection.search.all_to_all is not None
    made = next(event for event in retrospection.report() if isinstance(event, FindingMade))
    if backdoor:
        assert retrospection.search.kind == "blend" and retrospection.search.target is None
        assert (retrospection.targets, retrospection.deed) == (tuple(range(_CLASSES)), "unlearned")
        assert retrospection._teacher.second_opinion is not None
        assert abs(float(retrospection._teacher.second_opinion.network.gain)) < 0.5
        assert "every class" in made.finding.title
    else:
        assert (retrospection.search.target, retrospection.targets, retrospection.deed) == (2, (), "undone")
        assert retrospection._teacher.second_opinion is None and "Class 2" in made.finding.title


def test_answers_that_are_no_numbers_end_the_run(compute: Compute) -> None:
    teacher = _teacher(compute)
    pool = _filled(teacher)
    teacher.network.gain.data.fill_(torch.nan)  # type: ignore[union-attr]
    with pytest.raises(RunFailedError, match="number"):
        _search(teacher, pool)
