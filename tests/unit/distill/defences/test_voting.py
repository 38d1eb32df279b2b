"""The vaccine whose copies vote: what is suspicious, what chance alone gives, and when it may act."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch

from abd_app.distill.answering import Answer, AnsweringTeacher
from abd_app.distill.compute.device import Compute
from abd_app.distill.defences.vaccine import ShufflingVaccine
from abd_app.distill.defences.voting import VotingVaccine, chance_share
from abd_app.teacher import Teacher
from tests.unit.distill.checked import checked


def _vaccine(teacher: Teacher, **options: int) -> VotingVaccine:
    example = torch.rand(2, 3, 8, 8)
    generator = torch.Generator().manual_seed(0)
    return VotingVaccine(
        teacher.network, example=example, generator=generator, block_names=teacher.block_names, **options
    )


def _votes_for(vaccine: VotingVaccine, votes: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the copies vote as given, ``(M, N)``, part after part, whatever the images are."""
    remaining = list(votes.split(500, dim=1))
    monkeypatch.setattr(vaccine, "_votes", lambda images, answer: remaining.pop(0) if remaining else votes[:, :0])


def test_six_of_eight_copies_make_an_image_suspicious_and_five_do_not(
    make_teacher: Callable[..., Teacher], monkeypatch: pytest.MonkeyPatch
) -> None:
    vaccine = _vaccine(make_teacher())
    votes = torch.tensor([[1, 1, 1]] * 5 + [[0, 1, 1]] + [[0, 0, 1]] * 2)
    _votes_for(vaccine, votes, monkeypatch)
    answer = Answer(torch.tensor([[0.0, 9.0], [0.0, 9.0], [9.0, 0.0]]))
    assert vaccine.suspicious(torch.rand(3, 3, 8, 8), answer).tolist() == [False, True, False]


def test_the_copies_vote_with_their_own_classes(make_teacher: Callable[..., Teacher], compute: Compute) -> None:
    teacher = make_teacher()
    vaccine = _vaccine(teacher, copies=3, needed=2)
    answering = AnsweringTeacher(teacher.network, compute)
    answering.share_trunk(vaccine.trunk)
    images = torch.rand(64, 3, 8, 8)
    answer = answering(images)
    classes = answer.logits.argmax(1)
    agreeing = torch.zeros(64)
    for logits in vaccine.each(images, answer.trunk):
        agreeing += logits.argmax(1) == classes
    assert torch.equal(vaccine.suspicious(images, answer), agreeing >= 2)
    assert 0 < int((agreeing >= 2).sum()) < 64


def test_chance_is_the_binomial_tail_of_each_class() -> None:
    # Two copies, each voting class 0 for half of the images and class 1 for the rest; the teacher says 0 three in four.
    votes = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1]])
    classes = torch.tensor([0, 0, 0, 1])
    assert chance_share(votes, classes, 2, needed=2) == pytest.approx(0.25)
    assert chance_share(votes, classes, 2, needed=1) == pytest.approx(0.75)
    # Collapsed copies: everything of class 0 survives without any evidence.
    assert chance_share(torch.zeros(8, 4, dtype=torch.long), classes, 2, needed=6) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("survivors", "others_vote", "lacking"),
    [
        (40, 2, ""),
        (3, 2, "0.3 % of.*only more than 0.5 %"),
        (700, 2, "too many"),
        (40, 1, "4 times the .* of chance alone"),
    ],
    ids=["some stand out", "too few", "too many", "copies say the class anyway"],
)
def test_it_acts_only_where_its_votes_single_images_out(
    make_teacher: Callable[..., Teacher],
    compute: Compute,
    monkeypatch: pytest.MonkeyPatch,
    survivors: int,
    others_vote: int,
    lacking: str,
) -> None:
    teacher = make_teacher(num_classes=4)
    vaccine = _vaccine(teacher)
    answering = AnsweringTeacher(teacher.network, compute)
    logits = torch.zeros(1000, 4)
    logits[:, 0] = 1
    logits[:200, 1] = 2  # the teacher says class 1 for the first 200 images, 0 for the others
    votes = torch.full((8, 1000), others_vote)
    votes[:, :survivors] = logits.argmax(1)[:survivors]
    monkeypatch.setattr(
        vaccine,
        "_trials",
        lambda *_: [[(torch.rand(1000, 3, 8, 8), Answer(logits))]],
    )
    monkeypatch.setattr(vaccine, "_votes", lambda images, answer: votes)
    outcome = checked(vaccine, answering, torch.zeros(1000, 3, 8, 8, dtype=torch.uint8), torch.Generator())
    assert outcome.accepted == (not lacking)
    assert re.search(lacking, outcome.rejected_for) and bool(outcome.rejected_for) == bool(lacking)
    if outcome.accepted:
        assert (outcome.tail_ratio, outcome.class_index) == (0.04, 1)


def test_the_class_of_most_suspects_is_named_and_not_of_the_first(
    make_teacher: Callable[..., Teacher], compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = make_teacher(num_classes=4)
    vaccine = _vaccine(teacher)
    classes = torch.tensor([3] * 10 + [1] * 30 + [0] * 960)
    votes = torch.full((8, 1000), 2)
    votes[:, :40] = classes[:40]
    answer = Answer(torch.nn.functional.one_hot(classes, 4).float())
    monkeypatch.setattr(vaccine, "_trials", lambda *_: [[(torch.rand(1000, 3, 8, 8), answer)]])
    monkeypatch.setattr(vaccine, "_votes", lambda images, answer: votes)
    answering = AnsweringTeacher(teacher.network, compute)
    outcome = checked(vaccine, answering, torch.zeros(1000, 3, 8, 8, dtype=torch.uint8), torch.Generator())
    assert (outcome.accepted, outcome.tail_ratio, outcome.class_index) == (True, 0.04, 1)


@pytest.mark.parametrize(
    ("side", "expected"), [(16, 5000), (32, 5000), (40, 3200), (64, 1250), (96, 1000), (224, 1000)]
)
def test_large_images_are_checked_in_smaller_number(side: int, expected: int) -> None:
    assert VotingVaccine.images_to_check(side, side) == expected
    assert ShufflingVaccine.images_to_check(side, side) == 5000, "paper mode"


@pytest.mark.parametrize("accepted", [True, False], ids=["the second shuffling stands out", "none does"])
def test_a_rejected_shuffling_is_drawn_once_more(
    make_teacher: Callable[..., Teacher], compute: Compute, monkeypatch: pytest.MonkeyPatch, accepted: bool
) -> None:
    teacher = make_teacher()
    vaccine = _vaccine(teacher)
    shufflings: list[dict[str, torch.Tensor]] = []
    asked = []

    def votes(images: torch.Tensor, answer: Answer) -> torch.Tensor:
        now = vaccine.state_dict()
        if not shufflings or any(not torch.equal(now[key], shufflings[-1][key]) for key in now):
            shufflings.append(now)
        asked.append(len(images))
        classes = answer.logits.argmax(1)
        voted = (classes + 1) % 4  # another class than the teacher's, by all copies alike
        if len(shufflings) == 2 and (accepted or sum(asked) > 2 * 1000):
            voted[:20] = classes[:20]  # from the first part on, or only after the first fifth
        return voted.repeat(8, 1)

    monkeypatch.setattr(vaccine, "_votes", votes)
    images = torch.randint(0, 256, (5000, 3, 8, 8), dtype=torch.uint8)
    answering = AnsweringTeacher(teacher.network, compute)
    answering.share_trunk(vaccine.trunk)
    answered: list[int] = []
    teacher.network.register_forward_hook(lambda _, given, __: answered.append(len(given[0])))
    outcome = checked(vaccine, answering, images, torch.Generator().manual_seed(1))
    assert sum(answered) == (5000 if accepted else 1000), "the teacher answers once to what is looked at"
    assert (outcome.accepted, outcome.trials, len(shufflings)) == (accepted, 2, 2)
    assert outcome.tail_ratio == (0.04 if accepted else 0.0)
    assert sum(asked) == 1000 + (5000 if accepted else 1000), "without a suspicious image a fifth is enough"
