"""The pictures from which ``ood`` and ``fast`` cut patches: the user's own, or procedural ones."""

from __future__ import annotations

from collections.abc import Generator
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
_SETS_KEPT = 2
_kept: dict[tuple[int, int, int], torch.Tensor] = {}
"""By channels, seed and side: the newest sets that were drawn."""
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


def procedural_pictures(*, channels: int, seed: int, smallest_px: int, count: int | None = None) -> torch.Tensor:
    """24 or ``count`` pictures of dead leaves and textures, ``(M, C, S, S)`` uint8, S four patches or more; kept."""
    drawing = drawn_pictures(channels=channels, seed=seed, smallest_px=smallest_px, count=count)
    while True:
        try:
            next(drawing)
        except StopIteration as end:
            pictures: torch.Tensor = end.value
            return pictures


def drawn_pictures(
    *, channels: int, seed: int, smallest_px: int, count: int | None = None
) -> Generator[float, None, torch.Tensor]:
    """The same as :func:`procedural_pictures`; after each picture, if they are not kept, the share that is drawn."""
    side, count = max(PROCEDURAL_SIDE_PX, 4 * smallest_px), count or PROCEDURAL_PICTURES
    kept = _kept.get((channels, seed, side))
    if kept is None or len(kept) < count:
        pictures = []
        for canvas in draw_canvases(count, side, seed=seed):
            pixels = torch.from_numpy(canvas).permute(2, 0, 1)
            pictures.append(pixels if channels == 3 else pixels.float().mean(dim=0, keepdim=True).to(torch.uint8))
            yield len(pictures) / count
        kept = _keep((channels, seed, side), torch.stack(pictures))
    return kept[:count]


def _keep(key: tuple[int, int, int], pictures: torch.Tensor) -> torch.Tensor:
    """Kept in the place of the oldest."""
    _kept.pop(key, None)
    _kept[key] = pictures
    for old in list(_kept)[:-_SETS_KEPT]:
        del _kept[old]
    return pictures


def procedural_patches(count: int, spec: ImageSpec, *, seed: int, pictures_count: int | None = None) -> torch.Tensor:
    """Synthetic images for checks: ``(count, C, H, W)`` uint8 patches of procedural pictures, on the CPU.

    Args:
        count: Patches.
        spec: Of the teacher.
        seed: Of pictures and patches.
        pictures_count: Of how many pictures; ``None``: 24, which take long for large images.
    """
    smallest_px = max(spec.height, spec.width)
    pictures = procedural_pictures(channels=spec.channels, seed=seed, smallest_px=smallest_px, count=pictures_count)
    cutter = PatchCutter(pictures, height=spec.height, width=spec.width)
    patches = cutter.cut_at_all_scales(count, torch.Generator().manual_seed(seed))
    return (patches * 255).round().to(torch.uint8)
