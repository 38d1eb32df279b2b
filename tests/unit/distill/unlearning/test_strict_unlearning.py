"""Self-Retrospection leaves two networks: one for patches, and a stricter one for images that were optimised."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from abd_app.distill.compute.device import Compute
from abd_app.distill.sources.base import GeneratorStep
from abd_app.distill.unlearning import target_search as module
from abd_app.distill.unlearning.settings import UnlearningSettings
from tests.unit.distill.planted import CLASSES, TARGET, new_retrospection


def test_of_an_earlier_version_one_network_judges_everything(compute: Compute) -> None:
    first, second = (new_retrospection(compute, steps=5, how_far=0.5)[0] for _ in range(2))
    list(first.run())
    state = first.state_dict()
    second.load_state_dict(state | {"weights": state["weights"][0]})
    opinion = second._teacher.second_opinion
    for optimized in (False, True):
        judge = opinion.about(optimized=optimized)
        assert torch.equal(judge.colours.weight, first._teacher.second_opinion.network.colours.weight)


def test_who_judges_strictly_has_gone_all_of_the_way(compute: Compute) -> None:
    """A part of it is for images that no gradient has led to the class."""
    changes = {}
    for how_far in (0.25, 1.0):
        retrospection, network = new_retrospection(compute, steps=10, how_far=how_far)
        list(retrospection.run())
        opinion = retrospection._teacher.second_opinion
        assert (opinion.strict_network is None) == (how_far == 1.0), "one network is enough"
        whole = opinion.about(optimized=True).colours.weight - network.colours.weight
        changes[how_far] = whole
        assert whole.norm() > 0.01
        torch.testing.assert_close(
            opinion.about(optimized=False).colours.weight - network.colours.weight, how_far * whole
        )
    assert torch.equal(changes[0.25], changes[1.0])


@pytest.mark.parametrize(("kept", "stays"), [([0.5, 0.05, 0.5], False), ([0.5, 0.5, 0.5], True)])
def test_a_strict_network_that_has_lost_the_class_judges_nothing(
    compute: Compute, monkeypatch: pytest.MonkeyPatch, kept: list[float], stays: bool
) -> None:
    retrospection, _ = new_retrospection(compute, how_far=0.5)
    shares = iter(kept)
    monkeypatch.setattr(retrospection, "_kept", lambda *_: next(shares))
    list(retrospection.run())
    assert retrospection.deed == "unlearned" and next(shares, None) is None
    assert (retrospection._teacher.second_opinion.strict_network is not None) == stays


@pytest.mark.parametrize(("patches", "classes", "distrusted"), [(32, 4, True), (31, 4, False), (32, 9, False)])
def test_optimised_images_of_the_target_are_no_lesson_where_enough_patches_are_there(
    compute: Compute, monkeypatch: pytest.MonkeyPatch, patches: int, classes: int, distrusted: bool
) -> None:
    monkeypatch.setattr(module, "FEWEST_CLASSES", classes)
    retrospection, _ = new_retrospection(compute, steps=1)
    pool, seen = retrospection._make_pool(), []
    fill = pool.filled

    def filled(renewals: int) -> Iterator[GeneratorStep]:
        seen.append((renewals, pool.distrusted))
        yield from fill(renewals)

    monkeypatch.setattr(pool, "filled", filled)
    monkeypatch.setattr(pool, "sizes", lambda: torch.full((CLASSES,), float(patches)))
    retrospection._make_pool = lambda: pool
    list(retrospection.run())
    assert retrospection.search.margins.target == TARGET
    assert seen == [(0, ()), (UnlearningSettings.renewals, (TARGET,) if distrusted else ())]
