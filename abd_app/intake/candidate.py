"""A teacher file turned into a network, before the facts about its images are settled."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from abd_app.intake.sniff import FileKind
from abd_app.intake.stated import NOTHING_STATED, StatedFacts
from abd_app.networks import catalog
from abd_app.networks.batchnorm import tracked_batchnorms
from abd_app.networks.fingerprints import Fit
from abd_app.teacher import Answers, DataFile, Finding

_WHOLE_SHARE = 0.55
"""BatchNorm layers for each convolution: 0.6 in EfficientNet-B0, the least of the common networks that have them, and
0.44 (WRN-16) to 0.51 (DenseNet-121) where those behind convolutions are folded and those in front of them are left."""


@dataclass(frozen=True)
class Candidate:
    """What a file turned out to hold.

    Attributes:
        stated: What is known of the teacher besides.
        proposed: What lies beside the file and may be about another one.
        network: Takes normalised images; ``None`` if no architecture fits the weights.
        fixed_size: The only image size that ``network`` takes; ``None`` if it takes several.
        answers: What ``network`` answers; ``None`` if unknown.
        answers_logits_instead: Whether the file answers probabilities and ``network`` what they are made of.
        parameters: Learned numbers; of the file if there is no network.
        nearest: With no network: the architectures that come closest, best first.
        data_files: Read beside the file.
        normalises_inside: Whether ``network`` takes pixels, in the range that ``stated`` tells as their normalisation.
    """

    kind: FileKind
    stated: StatedFacts
    findings: tuple[Finding, ...]
    network: nn.Module | None = None
    architecture: str | None = None
    num_classes: int | None = None
    channels: int | None = None
    fixed_size: tuple[int, int] | None = None
    answers: Answers | None = None
    answers_logits_instead: bool = False
    parameters: int = 0
    nearest: tuple[Fit, ...] = ()
    data_files: tuple[DataFile, ...] = ()
    proposed: StatedFacts = NOTHING_STATED
    normalises_inside: bool = False

    @property
    def batchnorm_layers(self) -> int:
        """BatchNorm layers with statistics that an inversion could match."""
        return 0 if self.network is None else len(tracked_batchnorms(self.network))

    @property
    def batchnorm_folded(self) -> bool:
        """Whether so few BatchNorm layers are left beside the convolutions that an export has probably folded some."""
        modules = self.network.modules() if self.network is not None and self.kind is FileKind.ONNX else ()
        convolutions = sum(isinstance(module, nn.Conv2d) for module in modules)
        return 0 < self.batchnorm_layers < _WHOLE_SHARE * convolutions


class ResizedInput(nn.Module):
    """A network of one fixed image size behind a bilinear resize, antialiased like torchvision's."""

    def __init__(self, network: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.network = network
        self.size = size
        self.block_names = tuple(f"network.{name}" for name in catalog.stage_names(network))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Any size in, the network's answer out."""
        resized = F.interpolate(images, self.size, mode="bilinear", antialias=True)
        return self.network(resized)  # type: ignore[no-any-return]
