"""The losses of distillation, in float32 whatever the networks computed in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F


def kl_per_image(student_logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """KL(teacher || student) of each image, averaged over the classes as ``kl_div(reduction='mean')`` does.

    Args:
        student_logits: ``(N, K)``.
        teacher_logits: ``(N, K)``.
        temperature: Divides both.

    Returns:
        ``(N,)`` float32; K times smaller than the textbook divergence, the scale on which the paper's weights rest.
    """
    log_student = F.log_softmax(student_logits.float() / temperature, dim=1)
    log_teacher = F.log_softmax(teacher_logits.float() / temperature, dim=1)
    return F.kl_div(log_student, log_teacher, reduction="none", log_target=True).mean(dim=1)


def kl_mean(student_logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """KL(teacher || student) averaged over all N * K entries (Micaelli & Storkey 2019, as ABD uses it)."""
    return kl_per_image(student_logits, teacher_logits, temperature).mean()


def distillation_loss(student_logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Per-image ``T^2 * KL(teacher || student)`` summed over classes, ``(N,)`` (Hinton et al. 2015)."""
    classes = student_logits.shape[1]
    return kl_per_image(student_logits, teacher_logits, temperature) * (classes * temperature**2)


def attention_transfer(student_blocks: Sequence[torch.Tensor], teacher_maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Sum over blocks of the mean squared difference of spatial attention maps (Zagoruyko & Komodakis 2017, eq. 2).

    Args:
        student_blocks: ``(N, C_i, H_i, W_i)`` each.
        teacher_maps: ``(N, H_i * W_i)`` each, the teacher's :func:`attention_map` of blocks of the same sizes.

    Returns:
        Scalar; 0 for no blocks.
    """
    total = torch.zeros((), device=student_blocks[0].device if student_blocks else None)
    for block, teacher_map in zip(student_blocks, teacher_maps, strict=True):
        total = total + (attention_map(block) - teacher_map).square().mean()
    return total


def attention_map(block: torch.Tensor) -> torch.Tensor:
    """``(N, C, H, W)`` activations -> ``(N, H * W)`` channel-averaged energies of unit length."""
    energies = block.float().square().mean(dim=1).flatten(1)
    return F.normalize(energies, dim=1)


def batchnorm_distance(
    batch_mean: torch.Tensor, batch_var: torch.Tensor, running_mean: torch.Tensor, running_var: torch.Tensor
) -> torch.Tensor:
    """Distance of a batch's statistics to the stored ones (Yin et al., DeepInversion, CVPR 2020, eq. 4), scalar."""
    distance: torch.Tensor = (batch_mean - running_mean).norm() + (batch_var - running_var).norm()
    return distance


def suspicious_mean(
    per_image: torch.Tensor, suspicious: torch.Tensor | None, weight: float, among: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean over trusted images minus ``weight`` times the mean over suspicious ones (ABD's SV for given images).

    Both means are 0 when their group is empty, where the authors' code averages nothing and yields NaN.

    Args:
        per_image: ``(N,)`` losses.
        suspicious: ``(N,)`` bool; ``None``: all are trusted.
        weight: Non-negative.
        among: ``(M,)`` bool, the suspicious ones of the batch of which these images are a part: the result is then that
            part's share, and the shares of all parts add up to the result for the batch. ``None``: they are all.
    """
    if suspicious is None:
        return per_image.mean()
    trusted, suspected = (~suspicious).float(), suspicious.float()
    among = suspicious if among is None else among
    kept = (per_image * trusted).sum() / (~among).float().sum().clamp_min(1)
    pushed = (per_image * suspected).sum() / among.float().sum().clamp_min(1)
    return kept - weight * pushed
