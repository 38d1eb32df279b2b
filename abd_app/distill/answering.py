"""The teacher at work: one forward pass that gives everything the algorithm wants to know of a batch."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.microbatch import Microbatches
from abd_app.distill.defences.bounds import ActivationBounds
from abd_app.distill.losses import attention_map
from abd_app.errors import RunFailedError

_LEAST = 1e-6


@dataclass(frozen=True)
class Answer:
    """What a network said about a batch.

    Attributes:
        logits: ``(N, K)`` float32.
        blocks: Outputs of its stages, ``(N, C_i, H_i, W_i)`` each; empty if not asked for.
        trunk: Output of the part that the vaccine shares; ``None`` if there is none.
        held_back: Of a label, ``(N,)`` bool: which images a student had better not see; ``None``: it may see all.
    """

    logits: torch.Tensor
    blocks: tuple[torch.Tensor, ...] = ()
    trunk: torch.Tensor | None = None
    held_back: torch.Tensor | None = None

    def part(self, which: slice) -> Answer:
        """The answer to a part of the batch, without the trunk and what is held back."""
        return Answer(self.logits[which], tuple(block[which] for block in self.blocks))

    @functools.cached_property
    def attention(self) -> tuple[torch.Tensor, ...]:
        """Attention maps of the blocks, ``(N, H_i * W_i)`` each; computed once for all steps that learn from them."""
        return tuple(attention_map(block) for block in self.blocks)


@dataclass(frozen=True)
class SecondOpinion:
    """Who is asked again about images that the teacher takes for a class that a backdoor may lead to.

    Attributes:
        network: A copy of the teacher's, hooks included, that unlearned what leads to these classes.
        classes: Their indices.
        strict_network: One that unlearned more of it, and is asked about images that were optimised; ``None``: the
            other is asked about all, and its own answers are taken.
    """

    network: nn.Module
    classes: tuple[int, ...]
    strict_network: nn.Module | None = None

    def about(self, *, optimized: bool) -> nn.Module:
        """The network that is asked about images whose pixels were optimised, or about others."""
        return self.strict_network if optimized and self.strict_network is not None else self.network


class AnsweringTeacher:
    """The teacher on its device. Calling it runs it once, under the caller's gradient mode.

    Where there is a second opinion, images that the teacher takes for one of its classes get its answer instead. A
    backdoor leads nowhere else, so that about all other images the teacher is believed. Only what a student learns
    from (:meth:`label`) must not even hint at it. Ours, not in the paper.

    Args:
        network: ``(N, C, H, W)`` images in [0, 1] -> logits, on the device of ``compute``, frozen, in eval mode.
        compute: Device and precision.
        block_names: Stages whose outputs are kept in :attr:`Answer.blocks`.
        bounds: Those of its activations.
        recordable: Whether its passes may be recorded as CUDA graphs.
        temperature: Of the loss by which a student learns from its labels.
        leeway: By how much the logarithm of a label's probability of a doubted class may exceed the second opinion's.

    Attributes:
        bounds: As given; without them, none.
        recordable: As given.
        microbatches: How many images are labelled at a time.
        second_opinion: ``None`` until there is one.
    """

    def __init__(
        self,
        network: nn.Module,
        compute: Compute,
        block_names: Sequence[str] = (),
        bounds: ActivationBounds | None = None,
        *,
        recordable: bool = True,
        temperature: float = 1.0,
        leeway: float = 0.0,
    ) -> None:
        self.network = network
        self.recordable = recordable
        self.bounds = bounds or ActivationBounds()
        self.compute = compute
        self.second_opinion: SecondOpinion | None = None
        self.microbatches = Microbatches(compute, "The teacher labels", "The labels are the same.")
        self._block_names, self._temperature, self._leeway = tuple(block_names), temperature, leeway
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
            answer = self._run(self.network, images)
            return answer if self.second_opinion is None else self._ask_again(self.second_opinion, images, answer)
        finally:  # a pass that ran out of memory leaves nothing behind
            self._outputs.clear()

    def label(self, images: torch.Tensor, *, optimized: bool = False) -> Answer:
        """The answer for ``(N, C, H, W)`` float images in [0, 1] from which a student may learn.

        An image that teacher and second opinion take for the same doubted class gets the teacher's answer. One that
        only the teacher takes for it gets the second opinion's: it is to be held back, or, if it was optimised, is said
        to be nothing like that class. (Without a strict network both get the second opinion's.) About all others the
        teacher is believed, but none gets the doubted classes more probable, by more than the leeway, than the second
        opinion has them, at the temperature of the student's loss: one that is half on the way to the target class
        would say so in its logits, and the student would learn the way. Where all classes are doubted the label is the
        second opinion's.

        Args:
            images: The images.
            optimized: Whether their pixels followed a gradient through the teacher: they may rest on nothing but a
                backdoor, which a patch of a picture shows by chance at most.
        """
        opinion = self.second_opinion
        if opinion is None:
            return self(images)
        try:
            first, second = self._run(self.network, images), self._run(opinion.about(optimized=optimized), images)
        finally:
            self._outputs.clear()
        if len(opinion.classes) == first.logits.shape[1]:
            return replace(second, trunk=first.trunk)
        doubted = taken_for(first.logits, opinion.classes)
        limited = _capped(first.logits, second.logits, opinion.classes, self._temperature, self._leeway)
        capped = replace(first, logits=limited)
        if opinion.strict_network is None:
            return _merged(capped, second, doubted)
        disputed = doubted & (first.logits.argmax(dim=1) != second.logits.argmax(dim=1))
        believed = replace(first, logits=torch.where(doubted[:, None], first.logits, capped.logits))
        if optimized:
            return _merged(believed, replace(second, logits=_muted(second.logits, opinion.classes)), disputed)
        return replace(_merged(believed, second, disputed), held_back=disputed)

    def adopt_second_opinion(self) -> None:
        """From now on the network that unlearned, if there is one, answers for all images."""
        if self.second_opinion is not None:
            self.network.load_state_dict(self.second_opinion.network.state_dict())
            self.second_opinion = None

    def _run(self, network: nn.Module, images: torch.Tensor) -> Answer:
        with self.compute.autocast():
            logits = network(images).float()
        blocks = tuple(self._outputs[name] for name in self._block_names)
        return Answer(logits, blocks, self._outputs.get(self._trunk))

    def _ask_again(self, opinion: SecondOpinion, images: torch.Tensor, answer: Answer) -> Answer:
        """The answer with logits and blocks of images in the doubted classes replaced.

        The trunk stays: the vaccine's copies are those of the teacher as it was handed in. A GPU is asked about all
        images: to find out which are doubted it would have to be waited for.
        """
        doubted = taken_for(answer.logits, opinion.classes)
        if images.is_cuda:
            return _merged(answer, self._run(opinion.network, images), doubted)
        again = doubted.nonzero().flatten()
        if not len(again):
            return answer
        # A copy, whose stages the same hooks record.
        second = self._run(opinion.network, images[again])
        blocks = (first.index_copy(0, again, other) for first, other in zip(answer.blocks, second.blocks, strict=True))
        return Answer(answer.logits.index_copy(0, again, second.logits), tuple(blocks), answer.trunk)

    def _watch(self, name: str) -> None:
        def keep(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
            self._outputs[name] = output

        self.network.get_submodule(name).register_forward_hook(keep)


def taken_for(logits: torch.Tensor, classes: Sequence[int]) -> torch.Tensor:
    """Whether an image is taken for one of some classes, ``(N,)`` bool, for ``(N, K)`` logits."""
    largest = logits.argmax(dim=1)
    return torch.stack([largest == one for one in classes]).any(dim=0)


def check_numbers(values: torch.Tensor, search: str) -> None:
    """Sees to it that what comes of a teacher's answers is finite, before ``search`` draws a conclusion from it.

    Raises:
        RunFailedError: It is not.
    """
    if not values.isfinite().all():
        raise RunFailedError(
            "The teacher does not answer every image with a number.",
            where=search,
            why="Its computation overflows on some images in [0, 1].",
            remedy="Check its mean and standard deviation; --precision fp32 may help.",
        )


def _muted(logits: torch.Tensor, classes: Sequence[int]) -> torch.Tensor:
    """``(N, K)`` logits with those of some classes as low as the lowest of the others."""
    others, muted = logits.clone(), logits.clone()
    for one in classes:
        others[:, one] = torch.inf
    lowest = others.amin(dim=1)
    for one in classes:
        muted[:, one] = lowest
    return muted


def _capped(
    logits: torch.Tensor, limit: torch.Tensor, classes: Sequence[int], temperature: float, leeway: float
) -> torch.Tensor:
    """``(N, K)`` logits that give each of some classes at most the probability that ``limit`` gives it, and the leeway.

    What they say about the others, among each other, stays. Where one of ``classes``, which are not all, is the most
    probable the result has no meaning.
    """
    said, allowed = (one.div(temperature).log_softmax(dim=1) for one in (logits, limit))
    others, capped = said.clone(), logits.clone()
    for one in classes:
        others[:, one] = -torch.inf
    most = {one: torch.minimum(said[:, one], allowed[:, one] + leeway) for one in classes}
    left = 1 - torch.stack(list(most.values())).exp().sum(dim=0)  # for the others
    # A logit is the logarithm of a probability, but for this: what the others' logits say of their own.
    level = others.logsumexp(dim=1) - left.clamp_min(_LEAST).log() + logits.div(temperature).logsumexp(dim=1)
    for one in classes:
        capped[:, one] = temperature * (most[one] + level)
    return capped


def _merged(first: Answer, second: Answer, doubted: torch.Tensor) -> Answer:
    """The second answer where an image is doubted, ``(N,)`` bool, else the first; the trunk is the first's."""

    def chosen(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
        return torch.where(doubted.view(-1, *[1] * (ours.dim() - 1)), theirs, ours)

    blocks = tuple(map(chosen, first.blocks, second.blocks))
    return Answer(chosen(first.logits, second.logits), blocks, first.trunk)
