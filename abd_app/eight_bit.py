"""Pictures of any kind in eight bits a channel, and the right way up."""

from __future__ import annotations

import contextlib

import numpy as np
from PIL import Image, ImageOps


def upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF data says; as it lies where that is damaged."""
    with contextlib.suppress(Exception):  # Pillow's reader of EXIF raises many types
        return ImageOps.exif_transpose(picture)
    return picture


def eight_bit(picture: Image.Image) -> Image.Image:
    """The picture in ``L``, ``RGB`` or ``RGBA``."""
    if picture.mode.startswith("I"):  # 16-bit grey, which convert() would clip to white
        return Image.fromarray((np.asarray(picture) // 257).clip(0, 255).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        return picture.convert("RGBA")
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")
