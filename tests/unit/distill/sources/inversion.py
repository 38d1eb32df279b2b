"""What the tests of the sources that invert the teacher, ``cmi`` and ``fast``, begin with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.compute.device import Compute
from abd_app.networks.catalog import build
from abd_app.networks.pixels import PixelNetwork
from abd_app.teacher import Teacher

MakeTeacher = Callable[..., Teacher]
Source = TypeVar("Source")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def new_student(teacher: Teacher) -> PixelNetwork:
    """The same weights at every call."""
    torch.manual_seed(3)
    spec = teacher.spec
    return PixelNetwork(build("wrn-10-1", spec.num_classes, spec.channels), mean=spec.mean, std=spec.std).train()


def new_source(kind: Callable[..., Source], teacher: Teacher, compute: Compute, settings: object) -> Source:
    """A source of ``kind`` whose generator has the same weights at every call."""
    torch.manual_seed(4)
    return kind(AnsweringTeacher(teacher.network, compute), teacher.spec, generator=seeded(), settings=settings)
