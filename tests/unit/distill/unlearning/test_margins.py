"""The class that a backdoor leads to: found where one is planted, not found where none is."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.microbatch import Microbatches
from abd_app.distill.unlearning import margins as margins_module
from abd_app.distill.unlearning.margins import MarginSearch, MarginTest, outlier_p_values
from abd_app.distill.unlearning.target_findings import Deed, finding_of_target
from abd_app.errors import RunFailedError
from abd_app.networks.pixels import PixelNetwork
from tests.unit.distill.drained import drained

_SHAPE = (3, 8, 8)


class _Reachable(nn.Module):
    """Ten classes, each driven by its own part of the image; ``easy`` is driven five times as far."""

    def __init__(self, easy: int | None, classes: int = 10) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.weights = torch.randn(classes, 192, generator=random) / 10
        if easy is not None:
            self.weights[easy] *= 5

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - 0.5).flatten(1) @ self.weights.T


def _search(
    network: nn.Module, compute: Compute, *, classes: int = 10, steps: int = 40, most: int | None = None
) -> tuple[MarginTest, list[float]]:
    microbatches = Microbatches(compute, "It takes", "")
    microbatches.most = most
    search = MarginSearch(_SHAPE, classes, torch.Generator().manual_seed(1), steps=steps, microbatches=microbatches)
    return _run(search, AnsweringTeacher(network, compute))


def _run(search: MarginSearch, teacher: AnsweringTeacher) -> tuple[MarginTest, list[float]]:
    losses, outcome = drained(search.run(teacher))
    return outcome, [float(one["margin"]) for one in losses]


def test_a_class_that_is_reached_too_easily_is_the_target(compute: Compute) -> None:
    outcome, losses = _search(_Reachable(7), compute)
    assert outcome.target == 7 and outcome.p_value < 1e-3
    assert outcome.classes == tuple(range(10)) and outcome.margins[7] == max(outcome.margins)
    assert len(losses) == 3 * 40, "three groups of images"
    assert losses[39] > losses[0] + 5 and losses[-1] > losses[40] + 5


def test_a_class_is_judged_by_its_two_furthest_starts(compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 32 starts for each class two may find what a backdoor makes reachable; one alone may be a freak."""
    monkeypatch.setattr(margins_module, "_AT_ONCE", 320)
    for far in (1, 2, 32):
        margins = torch.full((10, 32), 10.0)
        margins[7, :far] = 30.0

        def ascend(*_: object, margins: torch.Tensor = margins) -> Iterator[torch.Tensor]:
            yield margins.flatten()

        monkeypatch.setattr(MarginSearch, "_ascend", ascend)
        outcome, _ = _search(_Reachable(None), compute)
        assert outcome.margins[7] == pytest.approx(20.0 if far == 1 else 30.0)
        assert outcome.margins[0] == 10.0


def test_no_class_is_the_target_where_all_are_reached_alike(compute: Compute) -> None:
    outcome, _ = _search(_Reachable(None), compute)
    assert outcome.target is None and outcome.p_value > 0.1


def test_a_margin_is_what_an_image_in_the_pixel_box_can_reach(compute: Compute) -> None:
    """Linear networks: the best image is black or white wherever the difference of the weights says so."""
    network = _Reachable(None, classes=2)
    outcome, _ = _search(network, compute, classes=2, steps=60)
    best = 0.5 * (network.weights[0] - network.weights[1]).abs().sum()
    assert outcome.margins == pytest.approx((float(best),) * 2, rel=1e-3)


def _p_value(margins: tuple[float, ...]) -> float:
    """Of the largest."""
    p_values = outlier_p_values(margins)
    assert len(p_values) == len(margins) and min(p_values) == p_values[margins.index(max(margins))]
    return min(p_values)


def test_the_p_value_is_that_of_a_gamma_distribution() -> None:
    """0, 1 and 2 have mean and variance 1: the exponential distribution, F(5) = 1 - exp(-5), to the fourth power."""
    assert _p_value((0.0, 5.0, 1.0, 2.0)) == pytest.approx(1 - (1 - math.exp(-5)) ** 4, rel=1e-4)
    assert _p_value((10.0, 11.0, 9.0, 10.0)) > 0.2
    assert _p_value((10.0, 11.0, 9.0, 40.0)) < 1e-6
    assert _p_value((1.0, 50.0, 1.2)) == 1.0, "two others say nothing about what is usual"


def test_what_cannot_be_compared_does_not_stand_out() -> None:
    for margins in ((3.0,) * 5, (-2.0, -1.0, -1.5, -1.2), (0.0,) * 4, (-2.0, -1.0, -1.5, 0.001)):
        assert _p_value(margins) > 0.05
    assert MarginTest((3, 5, 6, 9), (1.0, 2.0, 9.0, 1.5), 0.01, 20).target == 6
    assert 0 < _p_value((10.0, 11.0, 9.0, 60.0)) < 1e-50, "small, but not lost in rounding"


def test_answers_that_are_not_numbers_end_the_run(compute: Compute) -> None:
    network = _Reachable(None)
    network.weights[3] = torch.nan
    with pytest.raises(RunFailedError, match="does not answer"):
        _search(network, compute, steps=1)


def test_probabilities_hide_how_far_a_class_goes_and_the_finding_says_so(compute: Compute) -> None:
    reachable = _Reachable(7)
    reachable.weights *= 3
    inner = nn.Sequential(reachable, nn.Softmax(1))
    teacher = PixelNetwork(inner, mean=(0.0,) * 3, std=(1.0,) * 3, answers="probabilities")
    outcome, _ = _search(teacher, compute, steps=60)
    assert outcome.saturated and outcome.target is None and max(outcome.margins) <= teacher.largest_margin + 1e-3
    finding = finding_of_target(outcome, None, None, "unlearned")
    assert finding.severity == "warning" and "cannot be told" in finding.title and "probabilities" in finding.detail
    assert not _search(_Reachable(7), compute, steps=5)[0].saturated


def test_of_very_many_classes_some_are_looked_at(compute: Compute) -> None:
    outcome, _ = _search(_Reachable(None, classes=100), compute, classes=100, steps=1)
    assert len(outcome.classes) == len(set(outcome.classes)) == len(outcome.margins) == 64
    assert list(outcome.classes) == sorted(outcome.classes) and outcome.classes != tuple(range(64))


def test_portions_give_the_margins_of_the_whole(compute: Compute) -> None:
    whole, _ = _search(_Reachable(3), compute, steps=5)
    parts, _ = _search(_Reachable(3), compute, steps=5, most=7)
    assert parts.margins == pytest.approx(whole.margins, rel=1e-4)


_ALIKE, _FIRST, _LAST = (10.0, 11.0, 9.0, 10.0), (30.0, 10.0, 9.0, 10.0), (10.0, 11.0, 9.0, 60.0)


def _test(margins: tuple[float, ...], num_classes: int = 4) -> MarginTest:
    return MarginTest(tuple(range(len(margins))), margins, _p_value(margins), num_classes)


@pytest.mark.parametrize(
    ("margins", "deed", "severity", "title", "parts"),
    [
        (_ALIKE[:3], "unlearned", "info", "Too few classes", ["The teacher has 3", "any one of them"]),
        (_ALIKE, "unlearned", "info", "No class stands out", ["nothing to unlearn"]),
        (_FIRST, "undone", "warning", "Class 0 is probably", ["3.0 times", "undone", "look at this class"]),
        (_FIRST, "unlearned", "warning", "Class 0 is probably", ["3.0 times", "unlearned what leads images there"]),
        (_LAST, "unlearned", "warning", "Class 3 is probably", ["5.5 times", "p < 1e-6"]),
    ],
)
def test_the_finding_says_what_stands_out_and_what_was_done(
    margins: tuple[float, ...], deed: Deed, severity: str, title: str, parts: list[str]
) -> None:
    finding = finding_of_target(_test(margins, len(margins)), None, None, deed)
    assert finding.severity == severity and finding.title.startswith(title)
    assert all(part in finding.detail for part in parts)


def test_classes_that_were_not_looked_at_are_a_warning() -> None:
    finding = finding_of_target(_test(_ALIKE, 1000), None, None, "unlearned")
    assert finding.severity == "warning" and "4 of 1,000 classes were looked at." in finding.detail
