"""What every trigger can do, and the stamp, which most of them are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch

_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601), as Pillow's ``L`` has them."""


class Canvas(NamedTuple):
    """The images that a trigger is built for; sides in pixels."""

    channels: int
    height: int
    width: int


class Trigger(Protocol):
    """Turns images into triggered ones; an object that measuring and poisoning can use without knowing its kind."""

    @property
    def name(self) -> str:
        """As the user gave it."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Triggered copies of ``(N, C, H, W)`` float images in [0, 1]: in [0, 1], of the same dtype and device.

        Raises:
            ValueError: The images are not of the size the trigger was built for.
        """

    def to(self, device: torch.device | str) -> Trigger:
        """The same trigger on ``device``."""


@dataclass(frozen=True, eq=False)
class Stamp:
    """A trigger ``clamp(keep * image + add, 0, 1)``, which covers opaque, blended and additive ones.

    Attributes:
        name: As the user gave it.
        keep: ``(1, 1, H, W)`` share of the image that stays, in [0, 1].
        add: ``(1, C, H, W)`` what is added.
    """

    name: str
    keep: torch.Tensor
    add: torch.Tensor

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """As :class:`Trigger`."""
        check_size(images, self.add.shape[1:])
        return (images * self.keep.to(images) + self.add.to(images)).clamp_(0, 1)

    def to(self, device: torch.device | str) -> Stamp:
        """The same trigger on ``device``."""
        return Stamp(self.name, self.keep.to(device), self.add.to(device))


def check_size(images: torch.Tensor, built_for: tuple[int, ...]) -> None:
    """Refuses images that the trigger was not built for; a mistake of the program, not of a user.

    Raises:
        ValueError: ``images`` are not ``(N, *built_for)``.
    """
    if images.shape[1:] != built_for:
        raise ValueError(f"trigger for images {tuple(built_for)}, not {tuple(images.shape[1:])}")


def in_channels(colours: torch.Tensor, channels: int) -> torch.Tensor:
    """``(3, h, w)`` RGB colours as they are, or as ``(1, h, w)`` grey."""
    if channels == 3:
        return colours
    return (torch.tensor(_LUMA).view(3, 1, 1) * colours).sum(0, keepdim=True)
