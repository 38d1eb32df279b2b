"""The teacher at work: one forward pass that gives everything the algorithm wants to know of a batch."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from abd_app.distill.bounds import ActivationBounds
from abd_app.distill.device import Compute
from abd_app.distill.losses import attention_map
from abd_app.distill.microbatch import Portions


@dataclass(frozen=True)
class Answer:
    """What a network said about a batch.

    Attributes:
        logits: ``(N, K)`` float32.
        blocks: Outputs of its stages, ``(N, C_i, H_i, W_i)`` each; empty if not asked for.
        trunk: Output of the part that the vaccine shares; ``None`` if there is none.
    """

    logits: torch.Tensor
    blocks: tuple[torch.Tensor, ...] = ()
    trunk: torch.Tensor | None = None

    def part(self, which: slice) -> Answer:
        """The answer to a part of the batch, without the trunk."""
        return Answer(self.logits[which], tuple(block[which] for block in self.blocks))

    @functools.cached_property
    def attention(self) -> tuple[torch.Tensor, ...]:
        """Attention maps of the blocks, ``(N, H_i * W_i)`` each; computed once for all steps that learn from them."""
        return tuple(attention_map(block) for block in self.blocks)


@dataclass(frozen=True)
class SecondOpinion:
    """Who is asked again about images that the teacher takes for a class that a backdoor may lead to.

    Attributes:
        network: As the teacher's; it unlearned what leads to these classes.
        classes: Their indices.
    """

    network: nn.Module
    classes: tuple[int, ...]


class AnsweringTeacher:
    """The teacher on its device. Calling it runs it once, under the caller's gradient mode.

    Where there is a second opinion, images that the teacher takes for one of its classes get its logits instead. A
    backdoor leads nowhere else, so that about all other images the teacher is believed. Ours, not in the paper.

    Args:
        network: ``(N, C, H, W)`` images in [0, 1] -> logits, on the device of ``compute``, frozen, in eval mode.
        compute: Device and precision.
        block_names: Stages whose outputs are kept in :attr:`Answer.blocks`.
        bounds: Those of its activations.

    Attributes:
        bounds: As given; without them, none.
        portions: How many images are labelled at a time.
        second_opinion: ``None`` until there is one.
    """

    def __init__(
        self,
        network: nn.Module,
        compute: Compute,
        block_names: Sequence[str] = (),
        bounds: ActivationBounds | None = None,
    ) -> None:
        self.network = network
        self.bounds = bounds or ActivationBounds()
        self.compute = compute
        self.second_opinion: SecondOpinion | None = None
        self.portions = Portions(compute, "The teacher labels", "The labels are the same.")
        self._block_names = tuple(block_names)
        self._outputs: dict[str, torch.Tensor] = {}
        self._trunk = ""
        for name in self._block_names:
            self._watch(name)

    def share_trunk(self, name: str) -> None:
        """From now on answers carry the output of the module ``name``; an empty name changes nothing."""
        self._trunk = name
        if name and name not in self._block_names:
            self._watch(name)

    def __call__(self, images: torch.Tensor) -> Answer:
        """The answer for ``(N, C, H, W)`` float images in [0, 1] on the device."""
        try:
            with self.compute.autocast():
                logits = self.network(images).float()
            blocks = tuple(self._outputs[name] for name in self._block_names)
            trunk = self._outputs.get(self._trunk)
            if self.second_opinion is not None:
                logits = self._asked_again(self.second_opinion, images, logits)
            return Answer(logits, blocks, trunk)
        finally:  # a pass that ran out of memory leaves nothing behind
            self._outputs.clear()

    def _asked_again(self, opinion: SecondOpinion, images: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """``(N, K)`` logits, those of images in the doubted classes replaced."""
        doubted = torch.tensor(opinion.classes, device=logits.device)
        again = torch.isin(logits.argmax(dim=1), doubted).nonzero().flatten()
        if not len(again):
            return logits
        with self.compute.autocast():
            given = opinion.network(images[again]).float()
        return logits.index_copy(0, again, given)

    def _watch(self, name: str) -> None:
        def keep(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
            self._outputs[name] = output

        self.network.get_submodule(name).register_forward_hook(keep)
