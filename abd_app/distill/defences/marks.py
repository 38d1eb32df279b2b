"""Random marks: what a trigger could look like, drawn without knowing any."""

from __future__ import annotations

import torch

from abd_app.distill.boxes import random_spans
from abd_app.distill.compute.device import sent

BLENDED_SHARE, MOST_OPACITY = 1 / 3, 0.25


def mark_some(images: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """The first ``count`` of a batch get random marks; the student is pulled to the teacher's answer without them.

    A mark is a box of one colour, of noise or cut from another image of the batch, or the same laid thinly over the
    whole image. A student that has learned to look past random marks is harder to reach by a trigger that no search
    has found, and it costs no pass of any network. Ours, not in the paper: random where universal adversaries are
    optimised (Cutout, DeVries & Taylor 2017, and Mixup-like blends, with the answer to the unaltered image).

    Args:
        images: ``(N, C, H, W)`` float in [0, 1].
        count: At most N.
        generator: CPU generator of all randomness but noise on a GPU, which that device's own generator draws.

    Returns:
        ``(N, C, H, W)`` in [0, 1], in the memory format that convolutions like best.
    """
    _, channels, height, width = images.shape
    if not count:
        return images

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(count, *shape, generator=generator)

    order = torch.randperm(len(images), generator=generator)[:count]
    shift = [int(torch.randint(side, (), generator=generator)) for side in (height, width)]
    colour, noise = uniform(channels), _noise(images[:count], generator)
    kind = torch.randint(3, (count, 1), generator=generator)
    down, across = random_spans(count, height, generator), random_spans(count, width, generator)
    drawn = [order[:, None], colour, kind, down, across, uniform(1) < BLENDED_SHARE, MOST_OPACITY * uniform(1)]
    # In one piece: a GPU gets one copy instead of seven.
    table = sent(torch.cat([one.float() for one in drawn], dim=1), images.device)
    parts = table.split([1, channels, 1, height, width, 1, 1], dim=1)
    order, colour, kind, down, across, blended, opacity = (one[:, :, None, None] for one in parts)
    other = images[order.flatten().long()].roll(shift, dims=(2, 3))
    content = torch.where(kind == 0, colour, torch.where(kind == 1, other, noise))
    box = down.transpose(1, 2) * across.transpose(1, 3)
    marked = torch.lerp(images[:count], content, torch.where(blended > 0, opacity, box))
    return torch.cat([marked, images[count:]]).contiguous(memory_format=torch.channels_last)


def _noise(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Uniform noise; on a GPU from that device's own generator: most of what is drawn would have to be copied there."""
    if like.is_cuda:
        return torch.rand_like(like)
    return torch.rand(like.shape, generator=generator)
