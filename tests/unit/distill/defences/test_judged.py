"""A network whose answers a judge bears out, or not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from abd_app.distill.defences.judged import JudgedNetwork, margins


class _Says(nn.Module):
    """Answers every batch with the same logits."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits, dtype=torch.float32), requires_grad=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(images), -1)


def _judged(said: list[float], borne_out: list[float], tolerance: float = 3.0) -> torch.Tensor:
    return JudgedNetwork(_Says(*said), _Says(*borne_out), tolerance)(torch.zeros(2, 3, 4, 4))[0]


def test_margins_are_to_the_best_of_the_others() -> None:
    logits = torch.tensor([[5.0, 2.0, -1.0], [4.0, 4.0, 0.0]])
    assert margins(logits).tolist() == [[3, -3, -6], [0, 0, -4]]


def test_an_answer_that_the_judge_gives_as_well_stays() -> None:
    assert _judged([9, 1, 0], [9, 1, 0]).tolist() == [9, 1, 0]
    assert _judged([9, 1, 0], [6, 1, 0]).tolist() == [9, 1, 0], "as much as is tolerated is lost"
    assert _judged([9, 1, 0], [12, 1, 0]).tolist() == [9, 1, 0], "more than before is none lost"


@pytest.mark.parametrize(("judges_margin", "stays"), [(1.1, True), (0.9, False), (-20.0, False)])
def test_a_class_stays_ahead_while_the_judge_has_half_its_margin_less_what_is_tolerated(
    judges_margin: float, stays: bool
) -> None:
    """Of a margin of 8 that is 8 / 2 - 3 = 1."""
    answer = _judged([9, 1, 0], [judges_margin, 0, 0])
    assert (int(answer.argmax()) == 0) == stays
    assert answer[1:].tolist() == [1, 0], "the others are as they were said to be"


def test_whatever_class_it_is() -> None:
    assert int(_judged([0, 9, 1], [4, 0, 0]).argmax()) == 2


def test_its_state_holds_both_networks_and_what_is_tolerated() -> None:
    judged, other = JudgedNetwork(_Says(1, 0), _Says(0, 1), 2.0), JudgedNetwork(_Says(0, 0), _Says(0, 0), 0.0)
    other.load_state_dict(judged.state_dict())
    images = torch.zeros(1, 3, 4, 4)
    assert torch.equal(other(images), judged(images)) and other.tolerance == 2
