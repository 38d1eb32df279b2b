"""Answers that are needed several times are kept, but no more of them than there is room for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from abd_app.distill.answering import Answer, AnsweringTeacher
from abd_app.distill.compute.device import Compute
from abd_app.distill.defences import kept_answers
from abd_app.distill.defences.kept_answers import KeptAnswers
from abd_app.teacher import Teacher

_PART = 4
_PIXELS_BYTES, _LOGITS_BYTES, _TRUNK_BYTES = _PART * 3 * 8 * 8 * 4, _PART * 4 * 4, _PART * 32 * 4 * 4 * 4


def _pairs(answers: KeptAnswers) -> list[tuple[torch.Tensor, Answer]]:
    with torch.no_grad():
        return list(answers)


@pytest.mark.parametrize(
    ("room_bytes", "kept"),
    [(2**29, 3), (2 * (_PIXELS_BYTES + _LOGITS_BYTES + _TRUNK_BYTES), 2), (3 * (_PIXELS_BYTES + _LOGITS_BYTES), 0)],
    ids=["all", "two parts", "pixels and logits alone"],
)
def test_what_is_kept_is_bounded_by_its_bytes_with_the_features(
    make_teacher: Callable[..., Teacher], compute: Compute, monkeypatch: pytest.MonkeyPatch, room_bytes: int, kept: int
) -> None:
    monkeypatch.setattr(kept_answers, "MOST_BYTES", room_bytes)
    monkeypatch.setattr(kept_answers, "_MOST_IMAGES", _PART)
    teacher = make_teacher()
    answering = AnsweringTeacher(teacher.network, compute, teacher.block_names)
    answering.share_trunk("network.block2")
    asked: list[int] = []
    teacher.network.register_forward_hook(lambda module, inputs, logits: asked.append(len(logits)))
    answers = KeptAnswers(answering, torch.randint(0, 256, (3 * _PART - 1, 3, 8, 8), dtype=torch.uint8))
    first, second = _pairs(answers), _pairs(answers)
    sizes = [_PART, _PART, _PART - 1]
    assert asked == sizes + sizes[kept:]
    for (pixels, one), (again, other) in zip(first, second, strict=True):
        assert torch.equal(pixels, again) and torch.equal(one.logits, other.logits)
        assert one.trunk is not None and other.trunk is not None and torch.equal(one.trunk, other.trunk)
        assert one.trunk.nbytes == len(pixels) * _TRUNK_BYTES // _PART and not one.blocks
