"""Universal adversaries against a teacher whose weights stay, or that unlearns what they do."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.compute import parallel
from abd_app.distill.compute.microbatch import Microbatches
from abd_app.distill.compute.optimizers import give_gradients
from abd_app.distill.losses import distillation_loss
from abd_app.distill.sources.ood import BalancedPatchSource
from abd_app.distill.unlearning.adversaries import Adversaries
from abd_app.distill.unlearning.bends import Bends
from abd_app.distill.unlearning.settings import UnlearningSettings

_WARM_UP = 20


def led(
    teacher: AnsweringTeacher,
    adversaries: Adversaries,
    pool: BalancedPatchSource,
    settings: UnlearningSettings,
    microbatches: Microbatches,
) -> Iterator[dict[str, torch.Tensor]]:
    """Moves universal adversaries to where they lead the teacher as it was handed in, without its bounds.

    They come to excite the features that a backdoor's trigger acts through; they need not look like it. Universal
    perturbations are those of Moosavi-Dezfooli et al. (CVPR 2017). Deviations: they lead to one class, move by signed
    steps instead of DeepFool's, and half of them are canvases of which a box is laid over an image.

    Args:
        teacher: Without a second opinion.
        adversaries: To be moved.
        pool: Of images and the teacher's answers.
        settings: Steps, and images of a step.
        microbatches: How many images the teacher takes at a time.

    Yields:
        The mean cross entropy of a step, over images that are not of the class already.
    """
    for _ in range(settings.steps):
        yield {"leading": _lead(teacher, adversaries, pool, 2 * settings.batch_size, microbatches)}


def _lead(
    teacher: AnsweringTeacher,
    adversaries: Adversaries,
    pool: BalancedPatchSource,
    count: int,
    microbatches: Microbatches,
) -> torch.Tensor:
    """One step; returns its mean loss."""
    images, answers = pool.balanced(count)
    own = answers.argmax(dim=1)
    perturbed, wanted = adversaries.perturb(images, own)
    shown, attacked = teacher.compute.images(perturbed.detach()), own != wanted
    by_shown = torch.zeros_like(shown)

    def run(part: slice) -> torch.Tensor:
        given = shown[part].requires_grad_()
        with teacher.bounds.lifted():
            logits = teacher(given).logits
        attack = (F.cross_entropy(logits, wanted[part], reduction="none") * attacked[part]).sum()
        (by_shown[part],) = torch.autograd.grad(attack, [given])
        return attack.detach()

    total = torch.stack(microbatches.over(count, run)).sum()
    gradients = adversaries.gradients(perturbed, by_shown)
    parallel.all_reduce_sum([total, *gradients])
    adversaries.descend(gradients)
    return total / attacked.sum().clamp_min(1)


def unlearned(
    teacher: AnsweringTeacher,
    adversaries: Adversaries | Bends,
    pool: BalancedPatchSource,
    settings: UnlearningSettings,
    microbatches: Microbatches,
) -> Iterator[dict[str, torch.Tensor]]:
    """Moves adversaries towards their classes, and at the same time the teacher's weights towards its earlier answers.

    To perturbed images it is to give the answer that it gave without the perturbation, to others the one that it gave
    (minimax unlearning as in I-BAU: Zeng et al., ICLR 2022).

    Args:
        teacher: Its weights are changed, and require gradients afterwards.
        adversaries: Universal ones.
        pool: Of images and the teacher's earlier answers.
        settings: Hyper-parameters.
        microbatches: How many images the teacher takes at a time.

    Yields:
        The losses of a step.
    """
    optimizer = torch.optim.Adam(teacher.network.requires_grad_().parameters(), settings.rate)
    for step in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.rate * min(1.0, (step + 1) / _WARM_UP) * (1 - step / settings.steps)
        losses = _add_gradients(teacher, adversaries, pool, settings, microbatches)
        optimizer.step()
        optimizer.zero_grad()
        yield losses


def _add_gradients(
    teacher: AnsweringTeacher,
    adversaries: Adversaries | Bends,
    pool: BalancedPatchSource,
    settings: UnlearningSettings,
    microbatches: Microbatches,
) -> dict[str, torch.Tensor]:
    """The losses of one step, their gradients by the teacher's weights; the adversaries move, too."""
    count, parameters = settings.batch_size, list(teacher.network.parameters())
    images, answers = pool.balanced(2 * count)
    perturbed, wanted = adversaries.perturb(images[count:], answers[count:].argmax(dim=1))
    shown = teacher.compute.images(torch.cat([images[:count], perturbed.detach()]))
    clean = torch.arange(2 * count, device=shown.device) < count
    targets = torch.cat([wanted, wanted])  # of the clean half none is used
    # A perturbed image that was of its target class already has nothing to unlearn.
    attacked = ~clean & (answers.argmax(dim=1) != targets)
    by_shown = torch.zeros_like(shown)
    gradients = [torch.zeros_like(parameter) for parameter in parameters]

    def run(part: slice) -> torch.Tensor:
        given = shown[part].requires_grad_()
        logits = teacher(given).logits
        attack = (F.cross_entropy(logits, targets[part], reduction="none") * attacked[part]).sum()
        (by_shown[part],) = torch.autograd.grad(attack, [given], retain_graph=True)
        per_image = distillation_loss(logits, answers[part], settings.temperature) / count
        # What an adversary hardly turns is not pushed further away: that would cost the class images of its own.
        turned = logits.detach().softmax(dim=1).gather(1, targets[part, None])[:, 0] * attacked[part]
        losses = torch.stack([(per_image * clean[part]).sum(), (per_image * turned).sum()])
        # A network may have weights that no answer depends on.
        found = torch.autograd.grad(losses.sum(), parameters, allow_unused=True, materialize_grads=True)
        torch._foreach_add_(gradients, found)
        return losses.detach()

    losses = microbatches.over(2 * count, run, lambda: torch._foreach_zero_(gradients))
    by_adversaries = adversaries.gradients(perturbed, by_shown[count:])
    total = torch.stack(losses).sum(dim=0)
    parallel.all_reduce_sum([total, *by_adversaries, *gradients])
    give_gradients(parameters, gradients)
    adversaries.descend(by_adversaries)
    return {"retention": total[0], "unlearning": total[1]}
