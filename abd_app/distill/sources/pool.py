"""Synthetic images that stay on the device."""

from __future__ import annotations

from typing import Any

import torch

from abd_app.distill.compute.device import sent

MOST_BYTES = 2**30


def affordable(capacity: int, row_bytes: int, *, least: int = 1) -> int:
    """How many rows to keep: ``capacity``, or fewer where they would take more than a gibibyte.

    Args:
        capacity: Rows at most.
        row_bytes: Of one, with all that is kept beside it.
        least: Rows that are kept whatever they take, if the capacity is not less.
    """
    return min(capacity, max(least, MOST_BYTES // row_bytes))


def saved(rows: torch.Tensor) -> torch.Tensor:
    """A copy for a checkpoint, on the CPU: beside a pool a GPU may have no room for a second one."""
    return rows.to("cpu", copy=True)


def restored(rows: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """``rows`` with those of a checkpoint in the first places; one of an earlier version may have more of them."""
    if len(kept) > len(rows):
        return kept.to(rows.device)
    rows[: len(kept)] = kept
    return rows


class ImagePool:
    """A ring of uint8 images on the device; the oldest give way to the newest.

    Args:
        capacity: Images held at most.
        shape: (C, H, W).
        device: Where they live.
    """

    def __init__(self, capacity: int, shape: tuple[int, int, int], device: torch.device) -> None:
        self._images = torch.empty(capacity, *shape, dtype=torch.uint8, device=device)
        self._written = 0

    def __len__(self) -> int:
        return min(self._written, len(self._images))

    def add(self, images: torch.Tensor) -> torch.Tensor:
        """Stores ``(N, C, H, W)`` float images in [0, 1]; returns their places, ``(N,)``."""
        new = torch.arange(self._written, self._written + len(images), device=self._images.device)
        places = new % len(self._images)
        self._images[places] = (images * 255).round().to(torch.uint8)
        self._written += len(images)
        return places

    def at(self, places: torch.Tensor) -> torch.Tensor:
        """The uint8 images at ``places``, ``(N, C, H, W)``."""
        return self._images[places]

    def sample(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """``(count, C, H, W)`` uint8 images, drawn with replacement from a pool that is not empty."""
        chosen = torch.randint(len(self), (count,), generator=generator)
        return self._images[sent(chosen, self._images.device)]

    def state_dict(self) -> dict[str, Any]:
        """The images, on the CPU, and the place of the next."""
        return {"images": saved(self._images[: len(self)]), "written": self._written}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict` of a pool of the same capacity."""
        self._images = restored(self._images, state["images"])
        self._written = state["written"]
