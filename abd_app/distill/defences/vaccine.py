"""Shuffling Vaccine (ABD section 4.1): shuffled copies of the teacher point at images that carry the backdoor.

A clean image loses its meaning in a network whose deep layers see their input channels in another order; a triggered
image often keeps its label, because a backdoor rests on few, strong channels.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from abd_app.distill.answering import Answer, AnsweringTeacher
from abd_app.distill.defences.kept_answers import KeptAnswers
from abd_app.distill.losses import kl_per_image
from abd_app.text import percent

COPIES, LAYERS = 3, 5
TAIL_RATIO, TRIALS, CHECK_IMAGES = 0.02, 8, 5000


class VaccineError(Exception):
    """The teacher has no layer whose input channels could be shuffled."""


@dataclass(frozen=True)
class VaccineCheck:
    """Outcome of :meth:`ShufflingVaccine.check`.

    Attributes:
        accepted: Whether the vaccine tells images apart, so that it can act.
        tail_ratio: Share of the images that it told apart.
        trials: Shufflings that were tried.
        class_index: The class that most of the images told apart have for the teacher; ``None``: not known.
        rejected_for: What the last shuffling lacked, as a clause for the user; empty if accepted.
    """

    accepted: bool
    tail_ratio: float
    trials: int
    class_index: int | None = None
    rejected_for: str = ""


class ShufflingVaccine:
    """Copies of a teacher with the input channels of its last layers permuted; their logits are averaged.

    Layers are chosen by structure: the last ``layers`` convolutions (shortcuts included) with more than one input
    channel per group, or, in a network without any, the last linear layers before the classifier. The authors choose by
    the word "conv" in the name, which finds nothing in a VGG. On WRN-16-2 both rules give exactly ``block3``.

    The part of the network before the first shuffled layer is the same in all copies. Where the stages are known it
    runs once: the copies start from the recorded output of the last whole stage (``trunk``).

    Args:
        teacher: ``(N, C, H, W)`` images in [0, 1] -> logits; eval mode, on its device.
        example: A few images, to find out the order in which modules run.
        block_names: The teacher's stages, in order; may be empty.
        copies: Size m of the ensemble.
        layers: How many layers are shuffled.
        generator: CPU generator that draws the permutations.

    Raises:
        VaccineError: There is no layer to shuffle.
    """

    def __init__(
        self,
        teacher: nn.Module,
        *,
        example: torch.Tensor,
        generator: torch.Generator,
        block_names: Sequence[str] = (),
        copies: int = COPIES,
        layers: int = LAYERS,
    ) -> None:
        self.layer_names = shufflable_layers(teacher, image_channels=example.shape[1])[-layers:]
        if not self.layer_names:
            raise VaccineError("no convolution or linear layer with several input channels in reach")
        self._originals = {name: _weight(teacher, name).detach().clone() for name in self.layer_names}
        self._copies = [_unhooked_copy(teacher) for _ in range(copies)]
        self.trunk = self._share_trunk(teacher, example, block_names)
        self.shuffle(generator)

    def shuffle(self, generator: torch.Generator) -> None:
        """Draws new permutations, always from the teacher's own weights."""
        for network in self._copies:
            for name, original in self._originals.items():
                order = torch.randperm(original.shape[1], generator=generator).to(original.device)
                _weight(network, name).data.copy_(original[:, order])

    def logits(self, images: torch.Tensor, trunk_output: torch.Tensor | None = None) -> torch.Tensor:
        """Mean logits of the shuffled copies, ``(N, K)``.

        Args:
            images: ``(N, C, H, W)`` in [0, 1].
            trunk_output: What the module named :attr:`trunk` gave for these images in the teacher's own forward pass;
                needed where there is a trunk, and gradients flow through it.
        """
        total: torch.Tensor | None = None
        for answer in self.each(images, trunk_output):
            total = answer if total is None else total + answer
        assert total is not None
        return total / len(self._copies)

    def each(self, images: torch.Tensor, trunk_output: torch.Tensor | None = None) -> Iterator[torch.Tensor]:
        """Logits ``(N, K)`` of one shuffled copy after the other; arguments as in :meth:`logits`."""
        for network in self._copies:
            recall = network.get_submodule(self.trunk) if self.trunk else None
            if isinstance(recall, _Recall):
                recall.features = trunk_output
            answer = network(images)
            if isinstance(recall, _Recall):
                recall.features = None  # a kept tensor would keep the whole graph behind it alive
            yield answer

    @staticmethod
    def images_to_check(height: int, width: int) -> int:
        """How many images of a size, in pixels, :meth:`check` is to be given."""
        return CHECK_IMAGES

    @torch.inference_mode()
    def check(
        self, teacher: AnsweringTeacher, images: torch.Tensor, generator: torch.Generator
    ) -> Generator[float, None, VaccineCheck]:
        """Reshuffles until the vaccine tells some images apart, at most eight times (paper, section 4.1).

        Over synthetic images the log10 of the per-image KL between teacher and vaccine has a lower tail when some
        images survive the shuffling. Accepted if more than 2 % lie below mean - 3 std. Deviation: a divergence of 0
        counts as 1e-12, where the authors' code takes log10(0).

        Args:
            teacher: The teacher of which this is the vaccine.
            images: ``(N, C, H, W)`` uint8, as many as :meth:`images_to_check`.
            generator: Draws new permutations.

        Yields:
            The share of all trials that is done, in [0, 1].
        """
        ratio, seen = 0.0, 0
        for trial, pairs in enumerate(self._trials(teacher, images, TRIALS, generator), 1):
            divergences = []
            for pair in pairs:
                with teacher.compute.autocast():
                    divergences.append(self.divergence(*pair))
                seen += len(pair[0])
                yield seen / (TRIALS * len(images))
            ratio = tail_ratio(torch.cat(divergences))
            if ratio > TAIL_RATIO:
                return VaccineCheck(True, ratio, trial)
        why = (
            f"{percent(ratio)} of the images are told apart by them, and more than {percent(TAIL_RATIO, 0)} have to be"
        )
        return VaccineCheck(False, ratio, TRIALS, rejected_for=why)

    def _trials(
        self, teacher: AnsweringTeacher, images: torch.Tensor, count: int, generator: torch.Generator
    ) -> Iterator[Iterable[tuple[torch.Tensor, Answer]]]:
        """``count`` times the images in parts with the teacher's answers, with another shuffling from the second on."""
        answers = KeptAnswers(teacher, images)
        for trial in range(count):
            if trial:
                self.shuffle(generator)
            yield answers

    def divergence(self, images: torch.Tensor, answer: Answer) -> torch.Tensor:
        """KL(teacher || vaccine) of float images and the teacher's answer to them, ``(N,)``."""
        return kl_per_image(self.logits(images, answer.trunk), answer.logits)

    def suspicious(self, images: torch.Tensor, answer: Answer) -> torch.Tensor:
        """``(N,)`` bool: images whose class survives the shuffling."""
        return self.logits(images, answer.trunk).argmax(dim=1) == answer.logits.argmax(dim=1)

    def penalty(self, images: torch.Tensor, answer: Answer) -> torch.Tensor:
        """Mean KL(teacher || vaccine) over the suspicious images of a batch, 0 if there are none (paper, eq. 3)."""
        shuffled = self.logits(images, answer.trunk)
        survives = (shuffled.argmax(dim=1) == answer.logits.argmax(dim=1)).float()
        return (kl_per_image(shuffled, answer.logits) * survives).sum() / survives.sum().clamp_min(1)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The shuffled weights of every copy."""
        return {
            f"{i}.{name}": _weight(network, name).detach().clone()
            for i, network in enumerate(self._copies)
            for name in self.layer_names
        }

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restores :meth:`state_dict`."""
        for key, value in state.items():
            index, name = key.split(".", 1)
            _weight(self._copies[int(index)], name).data.copy_(value)

    def _share_trunk(self, teacher: nn.Module, example: torch.Tensor, block_names: Sequence[str]) -> str:
        """Cuts the copies down to what follows the last unshuffled stage; returns its name, or "" if that fails."""
        boundary = last_block_before(teacher, block_names, self.layer_names[0])
        if not boundary:
            return ""
        recorded: list[torch.Tensor] = []
        handle = teacher.get_submodule(boundary).register_forward_hook(lambda *args: recorded.append(args[2]))
        with torch.no_grad():
            expected = teacher(example)
        handle.remove()
        cut = [_cut_before(network, boundary, example) for network in self._copies]
        for network in cut:
            recall = network.get_submodule(boundary)
            assert isinstance(recall, _Recall)
            recall.features = recorded[0]
        try:
            with torch.no_grad():
                same = all(torch.allclose(network(example), expected, atol=1e-4, rtol=1e-4) for network in cut)
        except RuntimeError:  # the stages do not follow each other in a plain chain
            same = False
        if same:
            self._copies = cut
        return boundary if same else ""


class _Recall(nn.Module):
    """Stands for the trunk: gives back the features it was handed."""

    features: torch.Tensor | None = None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert self.features is not None
        return self.features


def tail_ratio(divergence: torch.Tensor) -> float:
    """Share of images whose log10 divergence lies below mean - 3 std (population std, as the authors compute it)."""
    logarithm = divergence.float().clamp_min(1e-12).log10()
    bound = logarithm.mean() - 3 * logarithm.std(correction=0)
    return float((logarithm < bound).float().mean())


def shufflable_layers(network: nn.Module, *, image_channels: int = 0) -> list[str]:
    """Names of the layers whose input channels can be permuted with effect, in definition order.

    A convolution with ``image_channels`` inputs reads the image itself (a ViT has no other) and is left out.
    """
    convolutions = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.in_channels != image_channels and module.weight.shape[1] > 1
    ]
    if convolutions:
        return convolutions
    return [name for name, module in network.named_modules() if isinstance(module, nn.Linear)][:-1]


def last_block_before(network: nn.Module, block_names: Sequence[str], layer: str) -> str:
    """The last stage that lies wholly before ``layer`` in definition order; empty if none does."""
    order = [name for name, _ in network.named_modules()]
    before = [
        name for name in block_names if not layer.startswith(f"{name}.") and order.index(name) < order.index(layer)
    ]
    return before[-1] if before else ""


def _cut_before(network: nn.Module, boundary: str, example: torch.Tensor) -> nn.Module:
    """A copy in which the modules that run before ``boundary`` pass their input on; ``boundary`` recalls features."""
    parent_name, _, last = boundary.rpartition(".")
    cut = copy.deepcopy(network)
    parent = cut.get_submodule(parent_name)
    ran: list[str] = []
    handles = [
        child.register_forward_pre_hook(lambda module, inputs, name=name: ran.append(name))
        for name, child in parent.named_children()
    ]
    with torch.no_grad():
        cut(example)
    for handle in handles:
        handle.remove()
    for name in ran[: ran.index(last)]:
        setattr(parent, name, nn.Identity())
    setattr(parent, last, _Recall())
    return cut


def _unhooked_copy(network: nn.Module) -> nn.Module:
    """A deep copy without the forward hooks by which the original is being watched."""
    duplicate = copy.deepcopy(network)
    for module in duplicate.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return duplicate


def _weight(network: nn.Module, layer: str) -> torch.Tensor:
    weight = network.get_submodule(layer).weight
    assert isinstance(weight, torch.Tensor)
    return weight
