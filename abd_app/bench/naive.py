"""The published algorithms in their plain form: everything anew at every step, as the authors' code does it.

A readable reference. It gives the numbers of the engine (tests hold both together in float32) and shows what the
engine does not do: the generator forwards and backwards in each of the student's ten steps, the teacher again for
images it has answered, whole shuffled teachers, gradients of weights that are frozen, S(x) in every round of
Self-Retrospection, losses read back at each step. Images lie in PyTorch's default memory format.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import nn

from abd_app.distill.compute.device import Compute
from abd_app.distill.losses import attention_map, attention_transfer, distillation_loss, kl_mean, kl_per_image
from abd_app.distill.observe import recorded_outputs

CLIP, ATTENTION, VACCINE = 5.0, 250.0, 0.1
Loss = Callable[[torch.Tensor], torch.Tensor]


class NaiveZskt:
    """ZSKT (Micaelli & Storkey 2019) with both defences of ABD (Hong et al. 2023).

    Args:
        teacher: ``(N, C, H, W)`` images in [0, 1] -> logits, in eval mode.
        student: The same, in training mode.
        generator: ``(N, 100)`` noise -> normalised images, in training mode.
        compute: Device and precision.
        mean: ``(1, C, 1, 1)``, from normalised to pixel space.
        std: ``(1, C, 1, 1)``.
        stages: Names of the stages of teacher and student between which attention is transferred.
        shuffled: The vaccine: whole copies of the teacher with shuffled weights; none without it.
        pseudo_batches: Length of the cosine schedules.
        retrospection: Whether the student's steps search for a perturbation and unlearn it.
        rounds: Of that search.
    """

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        generator: nn.Module,
        compute: Compute,
        *,
        mean: torch.Tensor,
        std: torch.Tensor,
        stages: tuple[Sequence[str], Sequence[str]],
        shuffled: Sequence[nn.Module] = (),
        pseudo_batches: int = 1,
        retrospection: bool = False,
        rounds: int = 10,
    ) -> None:
        self.teacher, self.student, self.generator = teacher, student, generator
        self._compute, self._mean, self._std, self._stages = compute, mean, std, stages
        self._shuffled, self._retrospection, self._rounds = shuffled, retrospection, rounds
        self._of_generator = torch.optim.Adam(generator.parameters(), 1e-3)
        self._of_student = torch.optim.Adam(student.parameters(), 5e-4 if retrospection else 2e-3)
        self._schedules = (
            torch.optim.lr_scheduler.CosineAnnealingLR(self._of_generator, pseudo_batches),
            torch.optim.lr_scheduler.CosineAnnealingLR(self._of_student, pseudo_batches * 10),
        )

    def generator_step(self, noise: torch.Tensor) -> float:
        """One step of the generator towards disagreement; returns the disagreement."""
        images = self._draw(noise)
        reply, answer = self._run(self.student, images), self._run(self.teacher, images)
        disagreement = kl_mean(reply, answer)
        loss = -disagreement
        if self._shuffled:
            logits = torch.stack([self._run(network, images) for network in self._shuffled]).mean(dim=0)
            survives = logits.argmax(dim=1) == answer.argmax(dim=1)
            if survives.any():
                loss = loss - VACCINE * kl_per_image(logits, answer)[survives].mean()
        self._of_generator.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.generator.parameters(), CLIP)
        self._of_generator.step()
        self._schedules[0].step()
        return disagreement.item()

    def student_step(self, noise: torch.Tensor) -> float:
        """One of ten steps of the student on the generator's images of ``noise``; returns its loss."""
        images = self._draw(noise)
        self._of_student.zero_grad()
        with recorded_outputs(self.teacher, self._stages[0]) as theirs, torch.no_grad():
            answer = self._run(self.teacher, images)
        with recorded_outputs(self.student, self._stages[1]) as ours:
            reply = self._run(self.student, images)
        maps = [attention_map(block) for block in theirs]
        loss = kl_mean(reply, answer) + ATTENTION * attention_transfer(ours, maps)
        loss.backward(retain_graph=self._retrospection)
        if self._retrospection:
            self._retrospect(images)
        else:
            nn.utils.clip_grad_norm_(self.student.parameters(), CLIP)
        self._of_student.step()
        self._schedules[1].step()
        return loss.item()

    def _draw(self, noise: torch.Tensor) -> torch.Tensor:
        return self._run(self.generator, noise).float() * self._std + self._mean

    def _run(self, network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        with self._compute.autocast():
            output: torch.Tensor = network(inputs)
        return output

    def _retrospect(self, images: torch.Tensor) -> None:
        """Adds the gradient of ABD section 4.2 to the student's: a search, then the hypergradient."""
        learned = [parameter.grad for parameter in self.student.parameters()]
        perturbation = self._search(images)
        for parameter, gradient in zip(self.student.parameters(), learned, strict=True):
            parameter.grad = gradient  # what the search left in them is thrown away
        point = perturbation.detach().requires_grad_(True)
        chosen = torch.randperm(len(images))[: max(1, int(len(images) * 0.02))]
        selected = torch.zeros(len(images), 1, 1, 1, device=images.device)
        selected[chosen.to(images.device)] = 1
        parameters = list(self.student.parameters())
        outer = self._change(images, images + point * self._std * selected)
        (residual,) = torch.autograd.grad(outer, [point], retain_graph=True)
        direct = torch.autograd.grad(outer, parameters, retain_graph=True)
        (slope,) = torch.autograd.grad(self._inner(images, point), [point], create_graph=True)
        mapped, adjoint = point - 0.1 * slope, torch.zeros_like(point)
        for _ in range(5):
            (propagated,) = torch.autograd.grad(mapped, [point], grad_outputs=adjoint, retain_graph=True)
            adjoint = propagated + residual
        indirect = torch.autograd.grad(mapped, parameters, grad_outputs=adjoint, materialize_grads=True)
        for parameter, one, other in zip(parameters, direct, indirect, strict=True):
            parameter.grad = one + other if parameter.grad is None else parameter.grad + one + other

    def _search(self, images: torch.Tensor) -> torch.Tensor:
        perturbation = torch.zeros_like(images[:1], requires_grad=True)
        optimizer = torch.optim.Adam([perturbation], lr=0.1)
        for _ in range(self._rounds):
            optimizer.zero_grad()
            self._inner(images, perturbation).backward(retain_graph=True)
            optimizer.step()
        return perturbation

    def _inner(self, images: torch.Tensor, perturbation: torch.Tensor) -> torch.Tensor:
        return 0.001 * perturbation.square().sum() - self._change(images, images + perturbation * self._std)

    def _change(self, images: torch.Tensor, perturbed: torch.Tensor) -> torch.Tensor:
        clean = self._run(self.student, images).detach()
        return kl_mean(self._run(self.student, perturbed), clean)


class NaiveOod:
    """Distillation on given images as ABD does it: teacher and vaccine answer every batch anew.

    Args:
        teacher: ``(N, C, H, W)`` images in [0, 1] -> logits, in eval mode.
        student: The same, in training mode.
        compute: Device and precision.
        temperature: Of the softmax.
        shuffled: The vaccine: whole copies of the teacher with shuffled weights; none without it.
    """

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        compute: Compute,
        *,
        temperature: float,
        shuffled: Sequence[nn.Module] = (),
    ) -> None:
        self.teacher, self.student = teacher, student
        self._compute, self._temperature, self._shuffled = compute, temperature, shuffled
        self._optimizer = torch.optim.Adam(student.parameters(), 4e-3)

    def student_step(self, images: torch.Tensor) -> float:
        """One step on ``(N, C, H, W)`` images; returns its loss."""
        with self._compute.autocast():
            reply = self.student(images)
            with torch.no_grad():
                answer = self.teacher(images)
            suspicious = torch.zeros(len(images), dtype=torch.bool, device=images.device)
            if self._shuffled:
                logits = torch.stack([network(images) for network in self._shuffled]).mean(dim=0)
                suspicious = logits.argmax(dim=1) == answer.argmax(dim=1)
        per_image = distillation_loss(reply, answer, self._temperature)
        loss = per_image[~suspicious].mean()
        if suspicious.any():
            loss = loss - VACCINE * per_image[suspicious].mean()
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), CLIP)
        self._optimizer.step()
        return loss.item()


def shuffled_copies(teacher: nn.Module, layers: Sequence[str], generator: torch.Generator) -> list[nn.Module]:
    """Three whole copies of the teacher, the input channels of the named layers permuted; their weights need gradients.

    From the same generator the permutations are those of the vaccine.
    """
    copies = [trainable(teacher) for _ in range(3)]
    for network in copies:
        for name in layers:
            weight = network.get_submodule(name).weight
            assert isinstance(weight, torch.Tensor)
            weight.data = weight.data[:, torch.randperm(weight.shape[1], generator=generator).to(weight.device)]
    return copies


def trainable(network: nn.Module) -> nn.Module:
    """A copy that nobody watches and whose weights collect gradients, as loaded weights do unless told otherwise."""
    duplicate = copy.deepcopy(network).requires_grad_(True)
    for module in duplicate.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return duplicate
