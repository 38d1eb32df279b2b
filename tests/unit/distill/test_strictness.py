"""Images that were optimised are judged by a stricter network than patches are."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from abd_app.distill import labelling
from abd_app.distill.answering import Answer, AnsweringTeacher, SecondOpinion
from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.microbatch import Microbatches
from abd_app.distill.labelling import Labeller
from abd_app.teacher import Teacher
from tests.unit.distill.opposite import opposite


@pytest.fixture
def answering(make_teacher: Callable[..., Teacher], compute: Compute) -> AnsweringTeacher:
    teacher = make_teacher()
    return AnsweringTeacher(teacher.network, compute, teacher.block_names)


@pytest.fixture
def images() -> torch.Tensor:
    random = torch.Generator().manual_seed(5)
    return torch.rand(40, 3, 1, 1, generator=random) * torch.rand(40, 3, 8, 8, generator=random)


def _doubt(answering: AnsweringTeacher, images: torch.Tensor) -> torch.Tensor:
    """Has the class of most images doubted, by a copy about patches and by its opposite about others; which it is."""
    classes = answering(images).logits.argmax(1)
    doubted = int(classes.mode().values)
    strict = opposite(answering.network)
    answering.second_opinion = SecondOpinion(copy.deepcopy(answering.network), (doubted,), strict)
    disputed = classes == doubted
    assert 0 < int(disputed.sum()) < len(images)
    return disputed


def test_a_patch_is_believed_where_an_optimised_image_is_nothing_like_the_class(
    answering: AnsweringTeacher, images: torch.Tensor
) -> None:
    disputed = _doubt(answering, images)
    opinion = answering.second_opinion
    assert opinion is not None and opinion.strict_network is not None
    first = answering._run(answering.network, images)
    strict = AnsweringTeacher(copy.deepcopy(opinion.strict_network), answering.compute, answering._block_names)(images)
    patch, optimized = answering.label(images), answering.label(images, optimized=True)
    assert torch.allclose(patch.logits, first.logits, atol=1e-5)
    assert patch.held_back is not None and not patch.held_back.any() and optimized.held_back is None
    (doubted,), rest = opinion.classes, [one for one in range(4) if one not in opinion.classes]
    assert torch.allclose(optimized.logits[disputed][:, rest], strict.logits[disputed][:, rest], atol=1e-5)
    assert torch.equal(optimized.logits[disputed, doubted], optimized.logits[disputed][:, rest].amin(1))
    for which, by in ((disputed, strict), (~disputed, first)):
        for one, other in zip(optimized.part(which).blocks, by.part(which).blocks, strict=True):
            assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("optimized", [False, True])
def test_without_a_strict_network_the_other_answers_for_itself(
    answering: AnsweringTeacher, images: torch.Tensor, optimized: bool
) -> None:
    doubted, opinion = _doubt(answering, images), answering.second_opinion
    assert opinion is not None and opinion.strict_network is not None
    with torch.no_grad():
        opposite = opinion.strict_network(images)
    answering.second_opinion = SecondOpinion(opinion.strict_network, opinion.classes)
    label = answering.label(images, optimized=optimized)
    assert torch.allclose(label.logits[doubted], opposite[doubted], atol=1e-5) and label.held_back is None


class _Suspicious:
    """A vaccine that finds every third image suspicious."""

    def suspicious(self, images: torch.Tensor, answer: Answer) -> torch.Tensor:
        return torch.arange(len(images)) % 3 == 0


@pytest.mark.parametrize("vaccinated", [False, True])
def test_what_is_held_back_counts_beside_the_vaccine(
    answering: AnsweringTeacher, images: torch.Tensor, vaccinated: bool
) -> None:
    disputed = _doubt(answering, images)
    opinion = answering.second_opinion
    assert opinion is not None and opinion.strict_network is not None
    answering.second_opinion = SecondOpinion(opinion.strict_network, opinion.classes, opinion.network)
    vaccine = _Suspicious() if vaccinated else None
    _, suspicious = Labeller(answering).label(images, vaccine)  # type: ignore[arg-type]
    assert torch.equal(suspicious, disputed | (torch.arange(len(images)) % 3 == 0) if vaccinated else disputed)


def test_in_portions_all_are_judged_alike(answering: AnsweringTeacher, images: torch.Tensor) -> None:
    _doubt(answering, images)
    whole, _ = Labeller(answering).label(images, optimized=True)
    answering.microbatches = Microbatches(answering.compute, "The teacher labels", "The labels are the same.")
    answering.microbatches.most = 7
    found, _ = Labeller(answering).label(images, optimized=True)
    torch.testing.assert_close(found, whole)


def test_patches_and_optimised_images_are_recorded_apart(
    answering: AnsweringTeacher, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many of both: each has its own pass, without a second opinion one that they share."""
    monkeypatch.setattr(labelling.RecordedPass, "replay", lambda self, *inputs: self._run(*inputs))
    labeller = Labeller(answering)
    for doubts in (False, True):
        if doubts:
            _doubt(answering, images)
        found = [labeller.label(images, optimized=optimized)[0] for optimized in (False, True)]
        assert torch.equal(*found) != doubts
        assert len(labeller._recorded) == 1 + doubts
