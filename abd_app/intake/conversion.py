"""Weights in fp32, without copying what a file holds once as often as it names it."""

from __future__ import annotations

import torch

from abd_app.errors import TeacherRefusedError

MOST_REPEATED_BYTES = 2**26
"""What a tensor may claim although the file holds less of it."""


class Converted:
    """Copies in fp32: one of each view of what a file holds, and not many more bytes in all than that."""

    def __init__(self) -> None:
        self._made: dict[tuple[object, ...], torch.Tensor] = {}
        self._stored: dict[int, int] = {}
        self._claimed = 0

    def of(self, value: torch.Tensor, where: str) -> torch.Tensor:
        """The copy of a dense tensor; ``where`` is what a refusal names.

        Raises:
            TeacherRefusedError: Views of the same numbers claim much more than there are.
        """
        storage = value.untyped_storage()
        view = (storage.data_ptr(), value.storage_offset(), value.shape, value.stride(), value.dtype)
        if view not in self._made:
            self._stored[storage.data_ptr()] = storage.nbytes()
            self._claimed += value.numel() * value.element_size()
            stored = sum(self._stored.values())
            if self._claimed > 2 * stored + MOST_REPEATED_BYTES:
                raise repeated(where, stored, self._claimed)
            self._made[view] = value.float()
        return self._made[view]


def repeated(where: str, stored: int, claimed: int) -> TeacherRefusedError:
    """The refusal of a file that would grow in memory."""
    return TeacherRefusedError(
        "The file claims more than it holds.",
        where=where,
        why=f"{stored:,} bytes are repeated until they fill {claimed:,}.",
        remedy="Save the model with ordinary weights, e.g. after tensor.contiguous().",
    )
