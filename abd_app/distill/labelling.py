"""Labelling: what the teacher, and the vaccine where there is one, say about images that are there already."""

from __future__ import annotations

import functools

import torch

from abd_app.distill import parallel
from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.recorded import RecordedPass
from abd_app.distill.vaccine import ShufflingVaccine


class Labeller:
    """Labels images in as many passes as memory asks for, each of several processes its slice.

    Args:
        teacher: Answers.
    """

    def __init__(self, teacher: AnsweringTeacher) -> None:
        self._teacher = teacher
        self._judges: tuple[object, ...] = ()
        self._recorded: dict[int, RecordedPass] = {}
        """By the number of images: a source labels new and inverted ones."""

    @torch.no_grad()
    def label(self, images: torch.Tensor, vaccine: ShufflingVaccine | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """What teacher and vaccine say, to be used before the next call.

        Args:
            images: ``(N, C, H, W)`` float in [0, 1] on the device, the same in all processes.
            vaccine: Judges them.

        Returns:
            Logits ``(N, K)`` float32, and suspicion ``(N,)`` bool, False throughout without a vaccine.
        """
        teacher, images = self._teacher, self._teacher.compute.images(images)
        judges = vaccine, teacher.second_opinion
        if judges != self._judges or teacher.portions.most is not None:
            self._judges, self._recorded = judges, {}
        if teacher.portions.most is None:
            if len(images) not in self._recorded:
                run = functools.partial(_judge, teacher, vaccine)
                self._recorded[len(images)] = RecordedPass(run, teacher.compute, allowed=teacher.recordable)
            if (replayed := self._recorded[len(images)].replay(images)) is not None:
                return replayed[0], replayed[1]
        parts = teacher.portions.over(len(images), lambda part: _judge(teacher, vaccine, images[part]))
        logits, suspicious = (torch.cat(one) for one in zip(*parts, strict=True))
        return parallel.gather(logits, len(images)), parallel.gather(suspicious, len(images))


def _judge(
    teacher: AnsweringTeacher, vaccine: ShufflingVaccine | None, images: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    answer = teacher.label(images)
    if vaccine is None:
        return answer.logits, torch.zeros(len(images), dtype=torch.bool, device=images.device)
    with teacher.compute.autocast():
        return answer.logits, vaccine.suspicious(images, answer)
