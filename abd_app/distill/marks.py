"""Random marks: what a trigger could look like, drawn without knowing any."""

from __future__ import annotations

import torch

from abd_app.distill.augment import random_boxes

BLENDED_SHARE, MOST_OPACITY = 1 / 3, 0.25


def mark_some(images: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """The first ``share`` of a batch gets random marks; the student is pulled to the teacher's answer without them.

    A mark is a box of one colour, of noise or cut from another image of the batch, or the same laid thinly over the
    whole image. A student that has learned to look past random marks is harder to reach by a trigger that no search
    has found, and it costs no pass of any network. Ours, not in the paper: random where universal adversaries are
    optimised (Cutout, DeVries & Taylor 2017, and Mixup-like blends, with the answer to the unaltered image).

    Args:
        images: ``(N, C, H, W)`` float in [0, 1].
        share: In [0, 1].
        generator: CPU generator of all randomness.

    Returns:
        ``(N, C, H, W)`` in [0, 1], in the memory format that convolutions like best.
    """
    count, (_, channels, height, width) = round(len(images) * share), images.shape
    if not count:
        return images

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(count, *shape, generator=generator).to(images.device)

    order = torch.randperm(len(images), generator=generator)[:count].to(images.device)
    shift = [int(torch.randint(side, (), generator=generator)) for side in (height, width)]
    other = images[order].roll(shift, dims=(2, 3))
    colour, noise = uniform(channels, 1, 1).expand_as(other), uniform(channels, height, width)
    kind = torch.randint(3, (count, 1, 1, 1), generator=generator).to(images.device)
    content = torch.where(kind == 0, colour, torch.where(kind == 1, other, noise))
    box = random_boxes(count, height, width, generator).to(images.device)
    opacity = torch.where(uniform(1, 1, 1) < BLENDED_SHARE, MOST_OPACITY * uniform(1, 1, 1), box)
    marked = torch.lerp(images[:count], content, opacity)
    return torch.cat([marked, images[count:]]).contiguous(memory_format=torch.channels_last)
