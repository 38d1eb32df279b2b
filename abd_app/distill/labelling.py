"""Labelling: what the teacher, and the vaccine where there is one, say about images that are there already."""

from __future__ import annotations

import functools

import torch

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.compute import parallel
from abd_app.distill.compute.recorded import RecordedPass
from abd_app.distill.defences.vaccine import ShufflingVaccine


class Labeller:
    """Labels images in as many passes as memory asks for, each of several processes its slice.

    Args:
        teacher: Answers.
    """

    def __init__(self, teacher: AnsweringTeacher) -> None:
        self._teacher = teacher
        self._judges: tuple[object, ...] = ()
        self._recorded: dict[tuple[int, bool], RecordedPass] = {}
        """By the number of images and who judges them: a source labels new and inverted ones."""

    @torch.no_grad()
    def label(
        self, images: torch.Tensor, vaccine: ShufflingVaccine | None = None, *, optimized: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What teacher and vaccine say, to be used before the next call.

        Args:
            images: ``(N, C, H, W)`` float in [0, 1] on the device, the same in all processes.
            vaccine: Judges them.
            optimized: Whether their pixels were (:meth:`AnsweringTeacher.label`).

        Returns:
            Logits ``(N, K)`` float32, and suspicion ``(N,)`` bool: of the vaccine, or of the second opinion; False
            throughout without either.
        """
        teacher, images = self._teacher, self._teacher.compute.images(images)
        judges = vaccine, teacher.second_opinion
        if judges != self._judges:
            teacher.microbatches.measure_again()
        if judges != self._judges or teacher.microbatches.most is not None:
            self._judges, self._recorded = judges, {}
        if teacher.microbatches.most is None:
            kind = len(images), optimized and teacher.second_opinion is not None
            if kind not in self._recorded:
                run = functools.partial(_judge, teacher, vaccine, optimized)
                self._recorded[kind] = RecordedPass(run, teacher.compute, allowed=teacher.recordable)
            if (replayed := self._recorded[kind].replay(images)) is not None:
                return replayed[0], replayed[1]
        parts = teacher.microbatches.over(len(images), lambda part: _judge(teacher, vaccine, optimized, images[part]))
        logits, suspicious = (torch.cat(one) for one in zip(*parts, strict=True))
        return parallel.all_gather(logits, len(images)), parallel.all_gather(suspicious, len(images))


def _judge(
    teacher: AnsweringTeacher, vaccine: ShufflingVaccine | None, optimized: bool, images: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    answer = teacher.label(images, optimized=optimized)
    suspicious = answer.held_back
    if suspicious is None:
        suspicious = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    if vaccine is None:
        return answer.logits, suspicious
    with teacher.compute.autocast():
        return answer.logits, suspicious | vaccine.suspicious(images, answer)
