"""DHBE: no data. Distils the teacher into itself on images that a generator makes, and smooths away what patches do.

Z. Yan, S. Li, R. Zhao, Y. Tian, Y. Zhao, "DHBE: Data-free Holistic Backdoor Erasing in Deep Neural Networks via
Restricted Adversarial Distillation", AsiaCCS 2023, arXiv 2306.08009. Networks, losses, rates and their schedule are
those of the authors' code (yanzhicong/DHBE, 482c40c). Deviations: networks run in the precision of the app, losses in
float32; for a teacher that normalises inside, images are drawn around 0.5 +- 0.25.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

from abd_app.distill.compute.device import Compute
from abd_app.teacher import ImageSpec, Teacher

AUTHORS_ROUNDS = 15_000
"""300 epochs of 50."""
STUDENT_STEPS, BATCH_SIZE, NOISE, FEATURES, PATCH_PX = 5, 256, 256, 64, 5
RATE, GENERATOR_RATE, DECAY_AT, DECAY = 0.1, 1e-3, (0.6, 0.8), 0.1
REGULARISATION, SMOOTHNESS = 0.1, 1e-4


class Drawing(nn.Module):
    """``(N, 256)`` noise -> ``(N, C, H, W)`` images: a linear layer, and as many doublings as lead to the size.

    Args:
        channels: Of the image; its sides are ``height`` and ``width``, pixels.
        doublings: Each with a convolution, BatchNorm and LeakyReLU after it.
        end: What follows the last convolution.
    """

    def __init__(self, channels: int, height: int, width: int, *, doublings: int, end: list[nn.Module]) -> None:
        super().__init__()
        rows, columns = (math.ceil(side / 2**doublings) for side in (height, width))
        first = FEATURES * (2 if doublings else 1)
        layers: list[nn.Module] = [
            nn.Linear(NOISE, first * rows * columns),
            nn.Unflatten(1, (first, rows, columns)),
            nn.BatchNorm2d(first),
        ]
        for one in range(doublings):
            last = one == doublings - 1
            after = FEATURES if last else first
            layers += [
                nn.Upsample(size=(height, width)) if last else nn.Upsample(scale_factor=2),
                nn.Conv2d(first, after, 3, padding=1),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(FEATURES, channels, 3, padding=1), *end)

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        """The images."""
        return self.layers(noise)  # type: ignore[no-any-return]


class Erasing:
    """The three players: a copy of the teacher, a generator of images, and one of patches that are added to them.

    A round is five steps of the copy, which follows |S(x) - T(x)| + 0.1 |S(x + p) - S(x)| (mean absolute differences of
    logits, the second S(x) as it is), then one of the images' generator, which climbs the first while neighbouring
    pixels stay alike, and one of the patches' generator, which climbs the second. Patches have pixels in [-1, 1], are
    added to pixels in [0, 1] without clipping, all of a batch in one place. The copy's BatchNorm learns from all of it.

    Args:
        teacher: Its network is not changed.
        compute: Device and precision.
        seed: Of all randomness.
        rounds: By whose share the learning rates fall.
    """

    def __init__(self, teacher: Teacher, compute: Compute, *, seed: int, rounds: int) -> None:
        torch.manual_seed(seed)
        spec = teacher.spec
        self._compute, self._random = compute, torch.Generator().manual_seed(seed)
        self._teacher = compute.place(copy.deepcopy(teacher.network)).eval().requires_grad_(False)
        self.student = compute.place(copy.deepcopy(teacher.network)).train().requires_grad_(True)
        self._mean, self._std = (
            torch.tensor(one, device=compute.device).view(1, -1, 1, 1) for one in _colours_of(spec)
        )
        colours = nn.BatchNorm2d(spec.channels, affine=False)
        doublings = max(0, round(math.log2(max(spec.height, spec.width) / 8)))
        self._images = compute.place(
            Drawing(spec.channels, spec.height, spec.width, doublings=doublings, end=[nn.Tanh(), colours])
        )
        end = [nn.BatchNorm2d(spec.channels, affine=False), nn.Tanh()]
        self._patches = compute.place(Drawing(spec.channels, PATCH_PX, PATCH_PX, doublings=0, end=end))
        self._optimizers = [
            torch.optim.SGD(self.student.parameters(), RATE, momentum=0.9, weight_decay=5e-4),
            torch.optim.Adam(self._images.parameters(), GENERATOR_RATE),
            torch.optim.Adam(self._patches.parameters(), GENERATOR_RATE),
        ]
        falls = [max(1, round(share * rounds)) for share in DECAY_AT]
        self._schedules = [torch.optim.lr_scheduler.MultiStepLR(one, falls, DECAY) for one in self._optimizers]

    def round(self) -> None:
        """One round."""
        by_student, by_images, by_patches = self._optimizers
        for _ in range(STUDENT_STEPS):
            with torch.no_grad():
                images = self._draw_images()
                patched = self._patch(images)
            replies = self._ask(self.student, images)
            learned = F.l1_loss(replies, self._ask(self._teacher, images))
            moved = F.l1_loss(self._ask(self.student, patched), replies.detach())
            _step(by_student, learned + REGULARISATION * moved)
        images = self._draw_images()
        disagreement = F.l1_loss(self._ask(self.student, images), self._ask(self._teacher, images))
        _step(by_images, SMOOTHNESS * _roughness((images - self._mean) / self._std) - disagreement)
        with torch.no_grad():
            images = self._draw_images()
        replies, attacked = self._ask(self.student, images), self._ask(self.student, self._patch(images))
        _step(by_patches, -F.l1_loss(attacked, replies))
        for schedule in self._schedules:
            schedule.step()

    def _draw_images(self) -> torch.Tensor:
        """``(256, C, H, W)`` images in pixel scale, unbounded."""
        return self._compute.images(self._ask(self._images, self._noise()) * self._std + self._mean)

    def _patch(self, images: torch.Tensor) -> torch.Tensor:
        """The images, each with a patch of its own, all in one place."""
        height, width = images.shape[-2:]
        top, left = (int(torch.randint(side - PATCH_PX + 1, (), generator=self._random)) for side in (height, width))
        around = (left, width - PATCH_PX - left, top, height - PATCH_PX - top)
        return images + F.pad(self._ask(self._patches, self._noise()), around)

    def _noise(self) -> torch.Tensor:
        return torch.randn(BATCH_SIZE, NOISE, generator=self._random).to(self._compute.device)

    def _ask(self, network: nn.Module, given: torch.Tensor) -> torch.Tensor:
        with self._compute.autocast():
            return network(given).float()  # type: ignore[no-any-return]


def erased(teacher: Teacher, compute: Compute, *, seed: int, rounds: int) -> nn.Module:
    """The network that ``rounds`` rounds make of the teacher; the authors take :data:`AUTHORS_ROUNDS`.

    Raises:
        SystemExit: Its weights are no numbers in the end.
    """
    erasing = Erasing(teacher, compute, seed=seed, rounds=rounds)
    for _ in range(rounds):
        erasing.round()
    if not all(bool(one.isfinite().all()) for one in erasing.student.state_dict().values()):
        raise SystemExit("DHBE came to weights that are no numbers; more rounds or --precision fp32 may help.")
    return erasing.student.eval()


def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """One step on the parameters of this optimiser; gradients of others are not kept."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)  # some weights no answer may depend on
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()


def _colours_of(spec: ImageSpec) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the pixels that are drawn, by channel, in pixels of [0, 1]."""
    if set(spec.mean) == {0.0} and set(spec.std) == {1.0}:
        return (0.5,) * spec.channels, (0.25,) * spec.channels
    return spec.mean, spec.std


def _roughness(images: torch.Tensor) -> torch.Tensor:
    """How much ``(N, C, H, W)`` neighbouring pixels differ: the norms of four differences, summed, over the batch."""
    down, right = images[:, :, 1:] - images[:, :, :-1], images[..., 1:] - images[..., :-1]
    falling = images[:, :, 1:, 1:] - images[:, :, :-1, :-1]
    rising = images[:, :, 1:, :-1] - images[:, :, :-1, 1:]
    return sum((one.norm() for one in (down, right, falling, rising)), torch.zeros((), device=images.device))
