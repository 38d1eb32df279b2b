"""Plain knowledge distillation on images of one's own (Hinton et al. 2015): what clean data alone would give."""

from __future__ import annotations

import torch
from torch import nn

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.assemble import build_student
from abd_app.distill.compute.device import Compute
from abd_app.distill.recipe import Recipe
from abd_app.distill.sources.augment import shift_and_flip
from abd_app.distill.sources.base import Batch
from abd_app.distill.student import Student
from abd_app.teacher import Teacher

RECIPE = Recipe(
    method="own images", steps=0, rate=1e-3, warm_up=0.0, temperature=4.0, vaccine="none", retrospection="none"
)


def distil_on_images(
    teacher: Teacher, images: torch.Tensor, *, student_name: str, compute: Compute, seed: int, steps: int
) -> nn.Module:
    """A student that learned the teacher's softened answers to shifted and flipped images; labels are not used.

    T=4, Adam from 1e-3 to 0 as a cosine, batches of 128 drawn with replacement.

    Args:
        teacher: Answers; may be poisoned, as the rival does not know.
        images: ``(N, C, H, W)`` uint8, the user's own.
        student_name: The same architecture as the student that is compared with.
        compute: Device and precision.
        seed: Of the student's weights and of the batches.
        steps: Optimiser steps.
    """
    recipe = Recipe(**(vars(RECIPE) | {"steps": steps}))
    network = compute.place(build_student(student_name, teacher.spec, seed))
    answering = AnsweringTeacher(compute.place(teacher.network), compute)
    student, random = Student(network, compute, recipe), torch.Generator().manual_seed(seed)
    held = images.to(compute.device)
    padding = max(1, min(images.shape[-2:]) // 8)
    for step in range(steps):
        chosen = torch.randint(len(held), (recipe.batch_size,), generator=random).to(compute.device)
        shown = compute.images(shift_and_flip(held[chosen].float() / 255, random, padding))
        with torch.no_grad():
            answer = answering(shown)
        student.loss(Batch(shown, answer)).backward()
        student.apply_gradients(step)
    return network.eval()
