"""Labelling: what the teacher, and the vaccine where there is one, say about images that are there already."""

from __future__ import annotations

import torch

from abd_app.distill import parallel
from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.vaccine import ShufflingVaccine


@torch.no_grad()
def label(
    teacher: AnsweringTeacher, images: torch.Tensor, vaccine: ShufflingVaccine | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels images in as many passes as memory asks for, each of several processes its slice.

    Args:
        teacher: Answers.
        images: ``(N, C, H, W)`` float in [0, 1] on the device, the same in all processes.
        vaccine: Judges them.

    Returns:
        Logits ``(N, K)`` float32, and suspicion ``(N,)`` bool, False throughout without a vaccine.
    """

    def run(part: slice) -> tuple[torch.Tensor, torch.Tensor]:
        shown = teacher.compute.images(images[part])
        answer = teacher(shown)
        if vaccine is None:
            return answer.logits, torch.zeros(len(shown), dtype=torch.bool, device=shown.device)
        with teacher.compute.autocast():
            return answer.logits, vaccine.suspicious(shown, answer)

    logits, suspicious = zip(*teacher.portions.over(len(images), run), strict=True)
    return parallel.gather(torch.cat(logits), len(images)), parallel.gather(torch.cat(suspicious), len(images))
