"""Universal adversaries stay where they may be."""

from __future__ import annotations

import pytest
import torch

from abd_app.distill.compute.device import Compute
from abd_app.distill.unlearning.adversaries import Adversaries, Kind, make_adversaries
from abd_app.distill.unlearning.settings import UnlearningSettings


def test_adversaries_stay_in_the_ball_and_in_the_pixel_box(compute: Compute) -> None:
    random, size = torch.Generator().manual_seed(0), {"ball": 0.07, "boxes": (0.1, 0.5), "climb": 0.9}
    adversaries = Adversaries([(1, 1, 1), (3, 3, 3)], 4, (3, 8, 8), compute.device, random, **size)
    images, before = torch.rand(60, 3, 8, 8), adversaries._canvases.detach().clone()
    for _ in range(5):
        perturbed, wanted = adversaries.perturb(images, torch.arange(60) % 3)
        assert perturbed.min() >= 0 and perturbed.max() <= 1 and set(wanted.tolist()) == {1, 3}
        adversaries.descend(adversaries.gradients(perturbed, torch.randn_like(perturbed)))
        assert adversaries._pictures.abs().max() <= 0.07 + 1e-6
        assert adversaries._canvases.min() >= 0 and adversaries._canvases.max() <= 1
    assert not torch.equal(before, adversaries._canvases.detach())


def test_an_image_is_led_from_its_own_class(compute: Compute) -> None:
    random, size = torch.Generator().manual_seed(0), {"ball": 0.07, "boxes": (0.1, 0.5), "climb": 0.9}
    adversaries = Adversaries([(2, 0, 1)], 2, (3, 8, 8), compute.device, random, **size)
    _, wanted = adversaries.perturb(torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2, 2, 1, 0]))
    assert wanted.tolist() == [2, 0, 1, 1, 0, 2]


def test_canvases_are_blended_in_whole_where_opacities_are_given(compute: Compute) -> None:
    random, kept = torch.Generator().manual_seed(0), {"ball": 0.0, "boxes": (0.1, 0.5), "climb": 0.9}
    adversaries = Adversaries([(0, 0)], 1, (3, 8, 8), compute.device, random, **kept, opacities=(0.1, 0.3))
    perturbed, _ = adversaries.perturb(torch.zeros(200, 3, 8, 8), torch.zeros(200, dtype=torch.long))
    shares = (perturbed / adversaries._canvases.detach()).detach().flatten(1)
    assert torch.allclose(shares, shares[:, :1].expand_as(shares), atol=1e-4), "all of a canvas, everywhere alike"
    shown = shares[shares[:, 0] > 0, 0]
    assert 60 < len(shown) < 140 and 0.1 <= shown.min() < 0.13 and 0.27 < shown.max() <= 0.3 + 1e-6


def test_they_are_laid_over_the_last_images_alone(compute: Compute) -> None:
    random, size = torch.Generator().manual_seed(0), {"ball": 0.2, "boxes": (0.3, 0.5), "climb": 0.9}
    adversaries = Adversaries([(0, 0)], 2, (3, 8, 8), compute.device, random, **size)
    images = torch.rand(40, 3, 8, 8, generator=random)
    shown = adversaries.laid_over(images, 10)
    changed = (shown != images).flatten(1).any(dim=1)
    assert not changed[:30].any() and changed[30:].all()
    assert not shown.requires_grad and shown.min() >= 0 and shown.max() <= 1
    assert adversaries.laid_over(images, 0) is images


def test_each_is_laid_over_in_a_strength_of_its_own(compute: Compute) -> None:
    random = torch.Generator().manual_seed(0)
    adversaries = Adversaries([(0, 0)], 1, (3, 8, 8), compute.device, random, ball=0.2, boxes=(0.3, 0.5), climb=0.9)
    images = torch.full((200, 3, 8, 8), 0.5)
    moved = adversaries.laid_over(images, 200) - images
    by_picture = moved[(moved != 0).flatten(1).all(dim=1)]  # a box is not everywhere
    strengths = (by_picture / adversaries._pictures.detach()).flatten(1)
    assert 60 < len(strengths) < 140
    assert torch.allclose(strengths, strengths[:, :1].expand_as(strengths), atol=1e-2)
    assert strengths.min() < 0.1 and 0.9 < strengths.max() <= 1 + 1e-2
    in_box = (moved / (adversaries._canvases.detach() - images))[(moved == 0).flatten(1).any(dim=1)].flatten(1)
    assert in_box.amax(dim=1).min() < 0.1 and 0.9 < in_box.max() <= 1 + 1e-2


def test_restored_ones_do_what_the_others_did(compute: Compute) -> None:
    size = {"ball": 0.2, "boxes": (0.3, 0.5), "climb": 0.9}
    images, shown = torch.rand(40, 3, 8, 8), []
    first, second = (
        Adversaries([(1, 1)], 2, (3, 8, 8), compute.device, torch.Generator().manual_seed(seed), **size)
        for seed in (0, 1)
    )
    second.load_state_dict(first.state_dict())
    for one in (first, second):
        one._random.manual_seed(2)
        shown.append(one.laid_over(images, 40))
    assert torch.equal(*shown)


def test_marks_are_led_by_more_and_larger_pictures_than_blends(compute: Compute) -> None:
    """Four in a ball of 0.2 left a BadNets square 8 % of its attacks in the labels, twelve in one of 0.3 left 2 %."""
    kinds: tuple[Kind, ...] = ("mark", "blend")
    for kind, count, ball in zip(kinds, (12, 4), (0.3, 0.2), strict=True):
        random = torch.Generator().manual_seed(0)
        made = make_adversaries([(0, 0)], UnlearningSettings(), (3, 8, 8), compute.device, random, kind=kind)
        assert isinstance(made, Adversaries)
        for _ in range(30):
            made.descend([torch.ones_like(one) for one in made.state_dict().values()])
        pictures = made.state_dict()["pictures"]
        assert len(pictures) == count and float(pictures.max()) == pytest.approx(-ball)


@pytest.mark.parametrize(("targets", "count"), [(1, 12), (2, 12), (3, 12), (6, 24)])
def test_where_several_classes_are_unlearned_they_share_the_adversaries(
    compute: Compute, targets: int, count: int
) -> None:
    leads = [(target,) * targets for target in range(targets)]
    random = torch.Generator().manual_seed(0)
    made = make_adversaries(leads, UnlearningSettings(), (3, 8, 8), compute.device, random, kind="mark")
    assert len(made.state_dict()["pictures"]) == count  # type: ignore[union-attr]
