"""Triggers that are a picture: the user's own, or the demo's sticker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from abd_app.assets import asset
from abd_app.errors import UsageError
from abd_app.measure.triggers.base import Canvas, Stamp
from abd_app.measure.triggers.placing import Patch, check_fits, placed
from abd_app.pictures import open_picture
from abd_app.plan import BUILT_IN_TRIGGERS, TriggerSpec


def sticker(spec: TriggerSpec, canvas: Canvas) -> Stamp:
    """The demo teacher's trigger."""
    return placed(spec, _patch(spec, asset("demo/sticker.png"), canvas), canvas)


def picture(spec: TriggerSpec, canvas: Canvas) -> Stamp:
    """The picture file that ``spec.name`` is the path of.

    Raises:
        UsageError: Unreadable picture or mask, mask of another size, or larger than the image.
    """
    return placed(spec, _patch(spec, _path(spec.name), canvas), canvas)


def _patch(spec: TriggerSpec, path: Path, canvas: Canvas) -> Patch:
    """The picture, already in its final size."""
    picture = open_picture(path, what="trigger picture", option="--trigger").convert("RGBA")
    if spec.mask is not None:
        mask = open_picture(Path(spec.mask), what="trigger mask", option="--trigger").convert("L")
        if mask.size != picture.size:
            raise UsageError(
                "The trigger mask and its picture differ in size.",
                where=f"--trigger {spec.mask}",
                why=f"Mask: {mask.width} x {mask.height} pixels; picture: {picture.width} x {picture.height}.",
                remedy="Use a mask of the picture's size.",
            )
        picture.putalpha(mask)
    if spec.position == "full":
        size = (canvas.width, canvas.height)
    else:
        patch_width = max(1, round(spec.scale * canvas.width))
        size = (patch_width, max(1, round(patch_width * picture.height / picture.width)))
    check_fits(spec, size, canvas)  # before resizing: a sliver of a picture could ask for gigabytes
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    mode = "L" if canvas.channels == 1 else "RGB"
    colour = np.asarray(picture.convert("RGB").convert(mode), dtype=np.float32) / 255
    pattern = torch.from_numpy(colour).reshape(size[1], size[0], canvas.channels).permute(2, 0, 1)
    alpha = torch.from_numpy(np.asarray(picture.getchannel("A"), dtype=np.float32) / 255)
    return pattern, alpha[None]


def _path(name: str) -> Path:
    path = Path(name)
    if not path.exists() and path.name == name and not path.suffix:
        raise UsageError(
            f"Unknown trigger {name!r}.",
            where="--trigger",
            remedy=f"Use one of {', '.join(BUILT_IN_TRIGGERS)}, or the path of a picture.",
        )
    return path
