"""Puts a small pattern where the user wants it."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from abd_app.errors import UsageError
from abd_app.measure.triggers.base import Canvas, Stamp
from abd_app.plan import TriggerSpec

Patch = tuple[torch.Tensor, torch.Tensor]
"""Pattern ``(C, h, w)`` and alpha ``(1, h, w)``, both in [0, 1]."""


def placed(spec: TriggerSpec, patch: Patch, canvas: Canvas) -> Stamp:
    """The patch at ``spec.position``, its alpha times ``spec.opacity``.

    Raises:
        UsageError: It is larger than the image, or its alpha is 0 everywhere.
    """
    pattern, alpha = patch
    height, width = canvas.height, canvas.width
    if spec.position == "full" and pattern.shape[1:] != (height, width):
        pattern, alpha = (F.interpolate(part[None], (height, width))[0] for part in (pattern, alpha))
    patch_height, patch_width = pattern.shape[1:]
    check_fits(spec, (patch_width, patch_height), canvas)
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
    return Stamp(spec.name, 1 - F.pad(alpha, around)[None], F.pad(alpha * pattern, around)[None])


def check_fits(spec: TriggerSpec, size: tuple[int, int], canvas: Canvas) -> None:
    """Refuses a patch of ``size`` (width, height) that is larger than the image.

    Raises:
        UsageError: It is.
    """
    if size[0] > canvas.width or size[1] > canvas.height:
        raise UsageError(
            f"The trigger is larger than the image: {size[0]} x {size[1]} on {canvas.width} x {canvas.height} pixels.",
            where=f"--trigger {spec.name}",
            remedy="Give a smaller scale, or the position 'full' to stretch it over the image.",
        )
