"""How far classes go is looked at without and with activation bounds, and what both say of a class counts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.microbatch import Microbatches
from abd_app.distill.defences.bounds import ActivationBounds
from abd_app.distill.unlearning import margins as module
from abd_app.distill.unlearning.margins import MarginSearch, MarginTest, looks, outlier_p_values
from abd_app.distill.unlearning.settings import UnlearningSettings
from abd_app.distill.unlearning.target_findings import finding_of_target
from abd_app.distill.unlearning.target_search import TargetSearch
from tests.unit.distill.drained import drained

_CLASSES, _TARGET, _NATURAL, _STEPS = 10, 7, 4, 40


class _Bound:
    def __init__(self) -> None:
        self.acts = True


class _Far(nn.Module):
    """Linear classes: one goes far, and a natural one just as far while the bound is lifted."""

    def __init__(self, bound: _Bound, *, target: float, natural: float) -> None:
        super().__init__()
        self.weights = torch.randn(_CLASSES, 192, generator=torch.Generator().manual_seed(0)) / 10
        self.weights[_TARGET] *= target
        self.asked = list[bool]()
        self._bound, self._natural = bound, natural

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.asked.append(self._bound.acts)
        far = torch.ones(_CLASSES).index_fill(0, torch.tensor(_NATURAL), 1 if self._bound.acts else self._natural)
        return (images - 0.5).flatten(1) @ (self.weights * far[:, None]).T


def _searched(
    compute: Compute,
    *,
    target: float = 4.0,
    natural: float = 4.0,
    bounds: bool = True,
    acts: bool = True,
    limit: float = math.inf,
) -> tuple[MarginTest, int, _Far, torch.Tensor]:
    """What was found, in how many steps, the network, and the random state after it."""
    bound, random = _Bound(), torch.Generator().manual_seed(1)
    bound.acts = acts
    network = _Far(bound, target=target, natural=natural)
    network.largest_margin = limit
    teacher = AnsweringTeacher(network, compute, bounds=ActivationBounds([bound] if bounds else []))
    microbatches = Microbatches(compute, "It takes", "")
    search = MarginSearch((3, 8, 8), _CLASSES, random, steps=_STEPS, microbatches=microbatches)
    steps, found = drained(search.run(teacher))
    return found, len(steps), network, random.get_state()


def test_a_target_among_classes_that_go_far_by_nature_is_found(compute: Compute) -> None:
    found, steps, network, _ = _searched(compute)
    assert steps == 2 * 3 * _STEPS == looks(_CLASSES, bounded=True) * 3 * _STEPS
    assert network.asked == sorted(network.asked) and network.asked[-1], "first as it was handed in"
    assert min(outlier_p_values(found.margins)) > 0.05, "the natural one hides it"
    assert found.target == _TARGET and found.p_value < 0.01


def test_a_class_that_goes_far_by_nature_alone_does_not_stand_out(compute: Compute) -> None:
    alone, *_ = _searched(compute, target=1.0, natural=1.5, bounds=False, acts=False)
    assert alone.target == _NATURAL and alone.bounded_margins == ()
    found, *_ = _searched(compute, target=1.0, natural=1.5)
    assert found.margins == alone.margins and found.target is None and found.p_value > 2 * alone.p_value


def test_both_looks_have_the_same_starts_and_leave_the_state_of_one(compute: Compute) -> None:
    both, _, _, state = _searched(compute)
    for acts, margins in ((False, both.margins), (True, both.bounded_margins)):
        alone, steps, _, after = _searched(compute, bounds=False, acts=acts)
        assert alone.margins == margins and steps == 3 * _STEPS
        assert torch.equal(state, after)


def test_there_is_no_second_look_where_the_first_tells_nothing(
    compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    saturated, steps, network, _ = _searched(compute, limit=1.0)
    assert saturated.saturated and saturated.bounded_margins == () and steps == 3 * _STEPS and not any(network.asked)
    monkeypatch.setattr(module, "FEWEST_CLASSES", _CLASSES + 1)
    few, steps, network, _ = _searched(compute)
    assert few.p_value == 1 and few.bounded_margins == () and steps == 3 * _STEPS and not any(network.asked)


def test_chances_of_two_looks_are_combined_by_class() -> None:
    """Fisher's method: minus twice the logarithm of p q has a chi-squared distribution with four degrees of freedom."""
    margins, bounded = (10.0, 16.0, 9.0, 11.0, 10.0), (4.0, 4.1, 3.9, 6.5, 4.0)
    first, second = outlier_p_values(margins), outlier_p_values(bounded)
    both = outlier_p_values(margins, bounded)
    assert first.index(min(first)) == 1 and second.index(min(second)) == 3
    for p, q, combined in zip(first, second, both, strict=True):
        half = -math.log(p * q)
        fisher = float(torch.special.gammaincc(torch.tensor(2.0), torch.tensor(half)))
        assert combined == pytest.approx(max(fisher, min(p, q)), rel=1e-4)
    assert both[1] > first[1] and both[3] > second[3], "each look speaks for another class"
    assert min(outlier_p_values(margins, margins)) == min(first), "the same look again says nothing new"
    hidden = outlier_p_values((10.0, 14.0, 9.0, 13.0, 10.0), (4.0, 9.0, 3.9, 4.1, 4.0))
    assert hidden[1] < 0.01 < outlier_p_values((10.0, 14.0, 9.0, 13.0, 10.0))[1]


def test_what_is_beyond_all_doubt_stays_so() -> None:
    far, alike = (10.0, 11.0, 9.0, 6000.0), (4.0, 4.1, 3.9, 4.0)
    assert outlier_p_values(far)[3] == outlier_p_values(far, far)[3] == 0
    two = MarginTest((0, 1, 2, 3), far, 0.0, 4, bounded_margins=(4000.0, 4.1, 3.9, 4.0))
    assert outlier_p_values(two.margins, two.bounded_margins)[0] == 0 and two.target == 3, (
        "of two the one that goes further"
    )
    assert outlier_p_values(far, alike)[3] == 0
    assert outlier_p_values((1.0, 50.0, 1.2), (1.0, 50.0, 1.2)) == (1.0, 1.0, 1.0), "too few to compare"


@pytest.mark.parametrize("nothing", [(0.0, -1.0, -0.5, 2.0), (-1.0, -2.0, -1.5, 5.0)])
def test_a_look_by_which_nothing_goes_ahead_is_left_out(nothing: tuple[float, ...]) -> None:
    far = (10.0, 11.0, 9.0, 60.0)
    assert outlier_p_values(nothing) == (1.0,) * 4
    assert outlier_p_values(far, nothing) == outlier_p_values(nothing, far) == outlier_p_values(far)


@pytest.mark.parametrize(
    ("margins", "bounded", "said"),
    [
        (
            (10.0, 11.0, 9.0, 60.0),
            (0.0, -1.0, -0.5, 2.0),
            "(ahead of the others towards it alone with its activations bounded; p",
        ),
        (
            (10.0, 11.0, 9.0, 60.0),
            (-1.0, -2.0, 0.0, -3.0),
            "(hardly ahead of the other classes with its activations bounded; p",
        ),
        (
            (-1.0, -2.0, -1.0, -3.0),
            (4.0, 4.1, 3.9, 12.0),
            "driven hardly ahead of the other classes (2.9 times with its activations bounded; p",
        ),
    ],
)
def test_the_finding_gives_no_ratio_of_what_is_not_ahead(
    margins: tuple[float, ...], bounded: tuple[float, ...], said: str
) -> None:
    found = MarginTest((0, 1, 2, 3), margins, 0.002, 4, bounded_margins=bounded)
    assert found.target == 3 and said in finding_of_target(found, None, None, "unlearned").detail


def test_a_test_of_an_earlier_version_has_one_look() -> None:
    saved = {"classes": (0, 1, 2, 3), "margins": (1.0, 9.0, 2.0, 2.0), "p_value": 0.001, "num_classes": 4}
    assert MarginTest(**saved | {"saturated": False}).target == 1  # type: ignore[arg-type]


def test_the_finding_has_both_looks_and_one_chance() -> None:
    margins, bounded = (25.0, 36.0, 40.0, 20.0), (5.0, 12.0, 5.0, 4.0)
    found = MarginTest((0, 3, 4, 6), margins, 0.002, 7, bounded_margins=bounded)
    finding = finding_of_target(found, None, None, "unlearned")
    assert found.target == 3 and finding.title == "Class 3 is probably the target of a backdoor"
    driven = "Images can be driven 0.9 times as far towards it as towards the furthest other class"
    driven += " (2.4 times with its activations bounded; p = 0.002)."
    assert finding.detail.startswith(driven) and "4 of 7 classes" in finding.detail


@pytest.mark.parametrize(("classes", "groups"), [(_CLASSES, 3), (3, 0)])
def test_progress_counts_the_second_look_where_there_is_one(compute: Compute, classes: int, groups: int) -> None:
    most = []
    for bounds in ([_Bound()], []):
        teacher = AnsweringTeacher(nn.Flatten(), compute, bounds=ActivationBounds(bounds))
        how = {"shape": (3, 8, 8), "generator": torch.Generator(), "settings": UnlearningSettings(search_steps=_STEPS)}
        most.append(TargetSearch(teacher, num_classes=classes, inverts=False, **how).most_steps())
    assert most[0] - most[1] == groups * _STEPS
