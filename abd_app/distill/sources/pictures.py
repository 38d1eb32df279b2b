"""The pictures from which ``ood`` and ``fast`` cut patches: the user's own, or procedural ones."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from abd_app.distill.sources.augment import PatchCutter
from abd_app.distill.sources.procedural import draw_canvases
from abd_app.errors import UsageError
from abd_app.pictures import open_picture
from abd_app.teacher import ImageSpec

PROCEDURAL_PICTURES, PROCEDURAL_SIDE_PX = 24, 256
LARGEST_SIDE_PX = 2048


def load_picture(path: str, *, channels: int, smallest_px: int) -> torch.Tensor:
    """The user's picture, ``(1, C, S, S)`` uint8: its centre square, at most 2048 pixels wide.

    Args:
        path: Of a file that :func:`abd_app.pictures.open_picture` reads.
        channels: 1 or 3.
        smallest_px: Side of a patch; the picture must be larger.

    Raises:
        UsageError: There is no such picture, it cannot be read, or it is too large or too small.
    """
    opened = open_picture(Path(path), what="picture for patches", option="--picture")
    picture = opened.convert("L" if channels == 1 else "RGB")
    side = min(picture.size)
    if side < 2 * smallest_px:
        raise UsageError(
            f"The picture is too small: {picture.width} x {picture.height} pixels.",
            where=f"--picture {path}",
            why=f"Patches of {smallest_px} pixels are cut from it.",
            remedy=f"Give one of at least {2 * smallest_px} pixels a side, the more and the more varied the better.",
        )
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    if side > LARGEST_SIDE_PX:
        square = square.resize((LARGEST_SIDE_PX, LARGEST_SIDE_PX), Image.Resampling.BOX)
    pixels = np.asarray(square, dtype=np.uint8).reshape(1, square.height, square.width, channels)
    return torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).contiguous()


@functools.lru_cache(maxsize=2)
def procedural_pictures(*, channels: int, seed: int, smallest_px: int) -> torch.Tensor:
    """24 pictures of dead leaves and textures, ``(24, C, S, S)`` uint8, S four patches or more; kept."""
    side = max(PROCEDURAL_SIDE_PX, 4 * smallest_px)
    pixels = torch.from_numpy(draw_canvases(PROCEDURAL_PICTURES, side, seed=seed)).permute(0, 3, 1, 2).contiguous()
    return pixels if channels == 3 else pixels.float().mean(dim=1, keepdim=True).to(torch.uint8)


def procedural_patches(count: int, spec: ImageSpec, *, seed: int) -> torch.Tensor:
    """Synthetic images for checks: ``(count, C, H, W)`` uint8 patches of procedural pictures, on the CPU."""
    pictures = procedural_pictures(channels=spec.channels, seed=seed, smallest_px=max(spec.height, spec.width))
    cutter = PatchCutter(pictures, height=spec.height, width=spec.width)
    patches = cutter.cut_at_all_scales(count, torch.Generator().manual_seed(seed))
    return (patches * 255).round().to(torch.uint8)
