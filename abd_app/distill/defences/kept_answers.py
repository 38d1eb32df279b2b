"""The teacher's answers to images that are judged several times, kept as far as there is room."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from abd_app.distill.answering import Answer, AnsweringTeacher

MOST_BYTES = 2**29
"""Enough for all 5,000 images of 32 pixels and the features of a WRN-16-2."""
_MOST_IMAGES, _VALUES_AT_ONCE = 500, 2**23

Pair = tuple[torch.Tensor, Answer]


class KeptAnswers:
    """Float images in parts with the teacher's answers to them, without its stages; the same each time.

    The first parts are kept, with the features that the vaccine starts from, which are often larger than the images.
    Those for which there is no room are answered anew each time.

    Args:
        teacher: Answers, under the caller's gradient mode.
        images: ``(N, C, H, W)`` uint8.
    """

    def __init__(self, teacher: AnsweringTeacher, images: torch.Tensor) -> None:
        self._teacher = teacher
        self._parts = images.split(max(1, min(_MOST_IMAGES, _VALUES_AT_ONCE // images[0].numel())))
        self._kept: list[Pair] = []
        self._room_bytes = MOST_BYTES

    def __iter__(self) -> Iterator[Pair]:
        for index, part in enumerate(self._parts):
            if index < len(self._kept):
                yield self._kept[index]
                continue
            pair = self._answered(part)
            size_bytes = _size_bytes(pair)
            if index == len(self._kept) and size_bytes <= self._room_bytes:
                self._room_bytes -= size_bytes
                self._kept.append(pair)
            yield pair

    def _answered(self, part: torch.Tensor) -> Pair:
        pixels = self._teacher.compute.images(part).float() / 255
        answer = self._teacher(pixels)
        return pixels, Answer(answer.logits, trunk=answer.trunk)


def _size_bytes(pair: Pair) -> int:
    pixels, answer = pair
    return sum(one.nbytes for one in (pixels, answer.logits, answer.trunk) if one is not None)
