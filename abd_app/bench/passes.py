"""The bare passes through networks that a step cannot do without, each to be timed alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from abd_app.bench.cases import FAST, Case, drawn, inverted
from abd_app.bench.stopwatch import seconds
from abd_app.bench.subject import Subject, smooth_noise
from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.assemble import build_student, place_teacher
from abd_app.distill.batchnorm import ClosedFormBatchNorm
from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.recorded import RecordedPass, small
from abd_app.distill.defences.vaccine import ShufflingVaccine
from abd_app.distill.sources.generators import ZsktGenerator

_ROUNDS, _FIXED_POINT_STEPS, _NOISE = 10, 5, 100


@dataclass(frozen=True)
class Pass:
    """A forward pass, or a forward and backward pass.

    Attributes:
        per_step: How often a step of the student needs it.
        run: Does it once.
        images: That it is shown.
    """

    per_step: float
    run: Callable[[], object]
    images: torch.Tensor

    def timed(self, compute: Compute) -> Callable[[], float]:
        """Measures its seconds; on a GPU, from the third time on, those of its recording."""

        def run() -> tuple[torch.Tensor, ...]:
            self.run()
            return ()

        recorded = RecordedPass(run, compute, allowed=small(self.images))
        return lambda: seconds(compute, recorded)


class BarePasses:
    """The networks of one case and the passes of its step.

    Args:
        case: Source and defence.
        subject: What is distilled.
        compute: Device and precision.
    """

    def __init__(self, case: Case, subject: Subject, compute: Compute) -> None:
        self._case, self._compute = case, compute
        spec, count = subject.teacher.spec, subject.batch_size
        recipe = case.recipe(count)
        self._student = compute.place(build_student(subject.student_name, spec, 0)).train()
        self._frozen = copy.deepcopy(self._student).eval()
        generator = torch.Generator().manual_seed(0)
        placed = place_teacher(subject.teacher, recipe, self._student, compute, generator)
        self._teacher: AnsweringTeacher = placed[0]
        self._vaccine: ShufflingVaccine | None = placed[1]
        self._retrospection = recipe.retrospection
        side = max(spec.height, spec.width)
        many = drawn(case.method, count)
        images = smooth_noise(max(count, many), spec.channels, side)
        self._images = compute.images(images[..., : spec.height, : spec.width])[:count]
        self._many = compute.images(images[..., : spec.height, : spec.width])[:many]
        self._some = self._many[: inverted(subject)]
        self._generator = compute.place(ZsktGenerator(spec.channels, spec.height, spec.width)).train()
        self._noise = torch.randn(len(self._many), _NOISE).to(compute.device)

    def of_step(self) -> Iterator[Pass]:
        """Everything that a step of the student needs, its share of the source's own steps included."""
        student = list(self._student.parameters())
        yield Pass(1, lambda: self._both(self._student, self._images, student), self._images)
        yield from {"zskt": self._zskt, "ood": self._ood, "fast": self._fast}[self._case.method]()
        if self._retrospection == "paper":
            yield from self._paper(student)

    def _zskt(self) -> Iterator[Pass]:
        share = 1 / self._case.student_steps
        yield from self._generator_step(share)
        yield Pass(share, lambda: self._forward(self._generator, self._noise), self._noise)
        yield Pass(share, lambda: self._forward(self._teacher.network, self._images), self._images)

    def _fast(self) -> Iterator[Pass]:
        yield from self._ood()
        share = FAST.inversion_steps / self._case.student_steps
        yield Pass(share, lambda: self._both(self._teacher.network, self._some, [], to_images=True), self._some)
        yield Pass(share, lambda: self._both(self._frozen, self._some, [], to_images=True), self._some)
        yield Pass(1 / self._case.student_steps, lambda: self._forward(self._teacher.network, self._some), self._some)
        yield from self._votes(len(self._some) / len(self._many) / self._case.student_steps)

    def _ood(self) -> Iterator[Pass]:
        share = 1 / self._case.student_steps
        yield Pass(share, lambda: self._forward(self._teacher.network, self._many), self._many)
        yield from self._votes(share)

    def _votes(self, share: float) -> Iterator[Pass]:
        """Forward through every copy of the vaccine."""
        if self._vaccine is not None:
            vaccine, trunk = self._vaccine, self._trunk()
            yield Pass(
                share, lambda: self._forward(lambda images: vaccine.logits(images, trunk), self._many), self._many
            )

    def _generator_step(self, share: float) -> Iterator[Pass]:
        """Forwards and backwards through the generator, and through the networks that its images are shown to."""
        parameters = list(self._generator.parameters())
        yield Pass(share, lambda: self._both(self._generator, self._noise, parameters), self._noise)
        yield Pass(share, lambda: self._both(self._teacher.network, self._many, [], to_images=True), self._many)
        yield Pass(share, lambda: self._both(self._student, self._many, [], to_images=True), self._many)
        if self._vaccine is not None:
            vaccine, trunk = self._vaccine, self._trunk()
            start = self._many if trunk is None else trunk
            tail = vaccine.logits if trunk is None else lambda features: vaccine.logits(self._many, features)
            yield Pass(share, lambda: self._both(tail, start, [], to_images=True), start)

    def _paper(self, student: list[nn.Parameter]) -> Iterator[Pass]:
        """The published Self-Retrospection: S(x), the search, the two losses, and the products with the Hessian."""
        yield Pass(1, lambda: self._forward(self._student, self._images), self._images)
        yield Pass(_ROUNDS, lambda: self._both(self._student, self._images, [], to_images=True), self._images)
        yield Pass(1, lambda: self._both(self._student, self._images, student, to_images=True), self._images)
        # A network of its own: what a derivative keeps of one that is learning could not be recorded with it.
        other = copy.deepcopy(self._student)
        graph = _SecondOrder(other, self._images, self._compute)
        yield Pass(1, graph.build, self._images)
        yield Pass(_FIXED_POINT_STEPS - 1, lambda: graph.differentiate([graph.point]), self._images)
        yield Pass(1, lambda: graph.differentiate(list(other.parameters())), self._images)

    def _trunk(self) -> torch.Tensor | None:
        with torch.no_grad():
            return self._teacher(self._many).trunk

    def _forward(self, network: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor) -> None:
        with torch.no_grad(), self._compute.autocast():
            network(inputs)

    def _both(
        self,
        network: Callable[[torch.Tensor], torch.Tensor],
        inputs: torch.Tensor,
        parameters: list[nn.Parameter],
        *,
        to_images: bool = False,
    ) -> None:
        start = inputs.detach().requires_grad_(to_images)
        with self._compute.autocast():
            output = network(start)
        torch.autograd.grad(output, [*parameters, *([start] if to_images else [])], torch.ones_like(output))


class _SecondOrder:
    """The gradient by a picture that is added to all images, and its derivatives."""

    def __init__(self, network: nn.Module, images: torch.Tensor, compute: Compute) -> None:
        self._network, self._images, self._compute = network, images, compute
        self.point = torch.zeros_like(images[:1], requires_grad=True)
        self._along = torch.randn_like(self.point)
        self.build()

    def build(self) -> None:
        self._slope: torch.Tensor | None = None  # what it rests on is given up before it is built anew
        with self._compute.autocast(), ClosedFormBatchNorm():
            output = self._network(self._images + self.point)
        # A curved function of the output: with a linear one, parts of the second derivative would be 0.
        (self._slope,) = torch.autograd.grad(output.float().square().mean(), [self.point], create_graph=True)

    def differentiate(self, inputs: list[torch.Tensor] | list[nn.Parameter]) -> None:
        assert self._slope is not None
        torch.autograd.grad(self._slope, inputs, self._along, retain_graph=True, materialize_grads=True)
