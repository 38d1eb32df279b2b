"""Triggers as callables on images in [0, 1]."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from abd_app.assets import asset
from abd_app.errors import UsageError
from abd_app.measure.pictures import open_picture
from abd_app.plan import BUILT_IN_TRIGGERS, TriggerSpec

_GRID = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 1.0))
_SQUARE = ((1.0, 1.0, 1.0),) * 3
_BLEND_OPACITY, _BLEND_SEED = 0.2, 7
_SIG_DELTA, _SIG_FREQUENCY = 20 / 255, 6


@dataclass(frozen=True, eq=False)
class Trigger:
    """Stamps images: ``clamp(keep * image + add, 0, 1)``, which covers opaque, blended and additive triggers.

    Attributes:
        name: As the user gave it.
        keep: ``(1, 1, H, W)`` share of the image that stays, in [0, 1].
        add: ``(1, C, H, W)`` what is added.
    """

    name: str
    keep: torch.Tensor
    add: torch.Tensor

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Triggered copies of ``(N, C, H, W)`` float images in [0, 1]; same dtype and device.

        Raises:
            ValueError: The images are not of the size the trigger was built for.
        """
        if images.shape[1:] != self.add.shape[1:]:
            raise ValueError(f"trigger for images {tuple(self.add.shape[1:])}, not {tuple(images.shape[1:])}")
        return (images * self.keep.to(images) + self.add.to(images)).clamp_(0, 1)

    def to(self, device: torch.device | str) -> Trigger:
        """The same trigger on ``device``."""
        return Trigger(self.name, self.keep.to(device), self.add.to(device))


def build_trigger(spec: TriggerSpec, *, height: int, width: int, channels: int) -> Trigger:
    """The trigger of ``spec`` for ``(N, channels, height, width)`` images, on the CPU.

    Built-in: ``badnets-grid`` and ``badnets-square`` (Gu et al., 2017), 3x3 pixels on images up to 64 pixels and in
    proportion on larger ones; ``blend`` (Chen et al., 2017), 20 % of a uniform noise picture; ``sig`` (Barni et al.,
    2019), delta 20/255 and 6 periods over the width, columns counted from 0 as the common implementations do;
    ``sticker``, the demo teacher's. ``opacity`` scales what the trigger adds; ``position`` places all but ``blend``
    and ``sig``, which cover the image.

    Raises:
        UsageError: Unknown name, unreadable picture or mask, mask of another size, or larger than the image.
    """
    if spec.mask is not None and spec.name in BUILT_IN_TRIGGERS:
        raise UsageError(
            f"The built-in trigger {spec.name} takes no mask.", where="--trigger", remedy="Leave the mask out."
        )
    if spec.name == "blend":
        return _blend(spec, height, width, channels)
    if spec.name == "sig":
        return _sig(spec, height, width, channels)
    if spec.name in ("badnets-grid", "badnets-square"):
        patch = _badnets_patch(_GRID if spec.name == "badnets-grid" else _SQUARE, height, width, channels)
    else:
        patch = _picture_patch(spec, height, width, channels)
    return _placed(spec, patch, height, width)


def _blend(spec: TriggerSpec, height: int, width: int, channels: int) -> Trigger:
    opacity = _BLEND_OPACITY if spec.opacity is None else spec.opacity
    noise = torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(_BLEND_SEED))
    return Trigger(spec.name, torch.full((1, 1, height, width), 1 - opacity), opacity * noise)


def _sig(spec: TriggerSpec, height: int, width: int, channels: int) -> Trigger:
    delta = _SIG_DELTA * (1.0 if spec.opacity is None else spec.opacity)
    stripe = delta * torch.sin(2 * math.pi * _SIG_FREQUENCY * torch.arange(width) / width)
    return Trigger(spec.name, torch.ones(1, 1, height, width), stripe.expand(1, channels, height, width).clone())


def _badnets_patch(
    rows: tuple[tuple[float, ...], ...], height: int, width: int, channels: int
) -> tuple[torch.Tensor, torch.Tensor]:
    cell_px = max(1, int(min(height, width) / 64 + 0.5))
    pattern = torch.tensor(rows).repeat_interleave(cell_px, 0).repeat_interleave(cell_px, 1)
    return pattern.expand(channels, -1, -1), torch.ones(1, *pattern.shape)


def _picture_patch(spec: TriggerSpec, height: int, width: int, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The picture as pattern ``(C, h, w)`` and alpha ``(1, h, w)``, already in its final size."""
    path = asset("demo/sticker.png") if spec.name == "sticker" else _picture_path(spec.name)
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
        size = (width, height)
    else:
        patch_width = max(1, round(spec.scale * width))
        size = (patch_width, max(1, round(patch_width * picture.height / picture.width)))
    _check_fits(spec, size, height, width)  # before resizing: a sliver of a picture could ask for gigabytes
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    colour = np.asarray(picture.convert("RGB").convert("L" if channels == 1 else "RGB"), dtype=np.float32) / 255
    pattern = torch.from_numpy(colour).reshape(size[1], size[0], channels).permute(2, 0, 1)
    alpha = torch.from_numpy(np.asarray(picture.getchannel("A"), dtype=np.float32) / 255)
    return pattern, alpha[None]


def _picture_path(name: str) -> Path:
    path = Path(name)
    if not path.exists() and path.name == name and not path.suffix:
        raise UsageError(
            f"Unknown trigger {name!r}.",
            where="--trigger",
            remedy=f"Use one of {', '.join(BUILT_IN_TRIGGERS)}, or the path of a picture.",
        )
    return path


def _placed(spec: TriggerSpec, patch: tuple[torch.Tensor, torch.Tensor], height: int, width: int) -> Trigger:
    pattern, alpha = patch
    if spec.position == "full" and pattern.shape[1:] != (height, width):
        pattern, alpha = (F.interpolate(part[None], (height, width))[0] for part in (pattern, alpha))
    patch_height, patch_width = pattern.shape[1:]
    _check_fits(spec, (patch_width, patch_height), height, width)
    free_rows, free_columns = height - patch_height, width - patch_width
    top, left = {
        "bottom-right": (free_rows, free_columns),
        "bottom-left": (free_rows, 0),
        "top-right": (0, free_columns),
        "top-left": (0, 0),
        "center": (free_rows // 2, free_columns // 2),
        "full": (0, 0),
    }[spec.position]
    alpha = alpha * (1.0 if spec.opacity is None else spec.opacity)
    if not alpha.any():
        raise UsageError(
            "The trigger is invisible: its mask is black everywhere.",
            where=f"--trigger {spec.name}",
            remedy="Use a mask that is white where the trigger applies.",
        )
    around = (left, free_columns - left, top, free_rows - top)
    return Trigger(spec.name, 1 - F.pad(alpha, around)[None], F.pad(alpha * pattern, around)[None])


def _check_fits(spec: TriggerSpec, size: tuple[int, int], height: int, width: int) -> None:
    if size[0] > width or size[1] > height:
        raise UsageError(
            f"The trigger is larger than the image: {size[0]} x {size[1]} on {width} x {height} pixels.",
            where=f"--trigger {spec.name}",
            remedy="Give a smaller scale, or the position 'full' to stretch it over the image.",
        )
