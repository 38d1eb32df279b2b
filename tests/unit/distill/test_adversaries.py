"""Universal adversaries stay where they may be."""

from __future__ import annotations

import torch

from abd_app.distill.adversaries import Adversaries
from abd_app.distill.device import Compute


def test_adversaries_stay_in_the_ball_and_in_the_pixel_box(compute: Compute) -> None:
    random, size = torch.Generator().manual_seed(0), {"ball": 0.07, "boxes": (0.1, 0.5), "climb": 0.9}
    adversaries = Adversaries([1, 3], 4, (3, 8, 8), compute.device, random, **size)
    images, before = torch.rand(60, 3, 8, 8), adversaries._canvases.detach().clone()
    for _ in range(5):
        perturbed, wanted = adversaries.perturb(images)
        assert perturbed.min() >= 0 and perturbed.max() <= 1 and set(wanted.tolist()) == {1, 3}
        adversaries.descend(adversaries.gradients(perturbed, torch.randn_like(perturbed)))
        assert adversaries._pictures.abs().max() <= 0.07 + 1e-6
        assert adversaries._canvases.min() >= 0 and adversaries._canvases.max() <= 1
    assert not torch.equal(before, adversaries._canvases.detach())
