"""A teacher file turned into a network, before the facts about its images are settled."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from abd_app.errors import TeacherRefusedError
from abd_app.intake import onnx_data, onnx_graph, onnx_network, onnx_parity
from abd_app.intake.onnx_batch import OneByOne
from abd_app.intake.private_copy import PrivateCopy
from abd_app.intake.recognise import Recognised, fit_named, nearest_fits, recognise
from abd_app.intake.sniff import FileKind, sniff
from abd_app.intake.stated import StatedFacts, from_dict, read_sidecars
from abd_app.intake.unwrap import Weights, unwrap
from abd_app.intake.weights_file import load_safetensors, load_weights_only
from abd_app.networks import catalog
from abd_app.networks.fingerprints import Fit
from abd_app.plan import TeacherFacts
from abd_app.teacher import Answers, DataFile, Finding, Severity

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import onnx

_SHOWN_ALTERNATIVES = 4
_SHOWN_DATA_FILES = 4
_UNIT_RANGE_STD = 2.0
"""A graph that divides pixels by more than this, or subtracts more from them, expects them in [0, 255]."""


@dataclass(frozen=True)
class Candidate:
    """What a file turned out to hold.

    Attributes:
        network: Takes normalised images; ``None`` if no architecture fits the weights.
        fixed_size: The only image size that ``network`` takes; ``None`` if it takes several.
        answers: What ``network`` answers; ``None`` if unknown.
        parameters: Learned numbers; of the file if there is no network.
        nearest: With no network: the architectures that come closest, best first.
        data_files: Read beside the file.
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
    parameters: int = 0
    nearest: tuple[Fit, ...] = ()
    data_files: tuple[DataFile, ...] = ()

    @property
    def batchnorm_layers(self) -> int:
        """BatchNorm layers with statistics that an inversion could match."""
        modules = self.network.modules() if self.network is not None else ()
        return sum(
            isinstance(module, _BatchNorm)
            and not isinstance(module, (nn.BatchNorm1d, nn.BatchNorm3d))
            and module.running_mean is not None
            for module in modules
        )


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


def read_candidate(copy: PrivateCopy, facts: TeacherFacts) -> Candidate:
    """Looks into a private copy and builds the network it holds.

    Raises:
        TeacherRefusedError: The file is not a usable teacher.
        UsageError: ``facts.architecture`` does not fit the weights.
    """
    kind = sniff(copy.path, copy.original)
    try:
        if kind is FileKind.ONNX:
            return _from_onnx(copy)
        if kind is FileKind.SAFETENSORS:
            tensors, metadata = load_safetensors(copy.path)
            weights = unwrap(tensors, copy.original)
            stated = weights.stated.merged(from_dict(metadata, "the file"))
            weights = dataclasses.replace(weights, stated=stated)
        else:
            weights = unwrap(load_weights_only(copy.path, ignore_extras=True), copy.original)
    except TeacherRefusedError as refusal:
        if refusal.where == str(copy.path):  # The user knows the file, not our copy of it.
            refusal.where = str(copy.original)
        raise
    return _from_weights(kind, weights, copy.original, facts.architecture)


def _from_weights(kind: FileKind, weights: Weights, original: Path, named: str | None) -> Candidate:
    findings = list(weights.findings)
    stated = weights.stated
    beside = read_sidecars(original)
    found = (
        fit_named(named, weights.tensors) if named else recognise(weights.tensors, (stated.merged(beside)).architecture)
    )
    if found is None:
        return _unrecognised(kind, weights, original, stated.merged(beside))
    if beside.num_classes not in (None, found.fit.num_classes):
        detail = f"It speaks of {beside.num_classes} classes, the weights have {found.fit.num_classes}."
        findings.append(Finding("warning", f"{beside.source} beside the file was ignored", detail))
        beside = StatedFacts()
    elif beside != StatedFacts():
        findings.append(Finding("info", "Facts taken from beside the file", beside.source))
    if found.fit.num_classes < 2:
        raise TeacherRefusedError(
            "The teacher tells no classes apart.",
            where=str(original),
            why="Its last layer has one output.",
            remedy="Open a classifier with two logits or more.",
        )
    findings += _recognition_findings(found, certain=bool(named or found.hinted))
    network = _loaded(found, original)
    return Candidate(
        kind,
        stated.merged(beside),
        tuple(findings),
        network=network,
        architecture=found.fit.architecture,
        num_classes=found.fit.num_classes,
        channels=found.fit.channels,
        fixed_size=_fixed_size(network),
        answers="logits",
        parameters=sum(parameter.numel() for parameter in network.parameters()),
    )


def _recognition_findings(found: Recognised, *, certain: bool) -> list[Finding]:
    findings = []
    if found.also_fit and not certain:
        shown = ", ".join(found.also_fit[:_SHOWN_ALTERNATIVES]) + (
            " …" if len(found.also_fit) > _SHOWN_ALTERNATIVES else ""
        )
        detail = f"Also fitting: {shown}. They may differ in activation, stride or padding: --arch decides."
        severity: Severity = "info" if found.fit.architecture.startswith("torchvision/") else "warning"
        findings.append(Finding(severity, f"Several architectures fit; {found.fit.architecture} was taken", detail))
    if found.renamed:
        detail = (
            "It names the same layers otherwise. Strides, pooling and activations, also those in front of a last layer "
            "that was replaced, are not in the weights: check the accuracy."
        )
        findings.append(Finding("warning", f"Read as {found.fit.architecture}", detail))
    if found.left_out:
        detail = f"{len(found.left_out)} tensors of an auxiliary classifier, which only training uses."
        findings.append(Finding("info", "Training-only parts were left out", detail))
    return findings


def _unrecognised(kind: FileKind, weights: Weights, original: Path, stated: StatedFacts) -> Candidate:
    fits = nearest_fits(weights.tensors)
    if not fits:
        names = ", ".join(list(weights.tensors)[:3])
        raise TeacherRefusedError(
            "These weights belong to no image classifier the app knows.",
            where=str(original),
            why=f"None of its architectures shares a tensor with them ({names}, …).",
            remedy="Export the model as ONNX and open that.",
        )
    parameters = sum(value.numel() for value in weights.tensors.values())
    return Candidate(kind, stated, weights.findings, parameters=parameters, nearest=fits)


def _loaded(found: Recognised, original: Path) -> nn.Module:
    network = catalog.build(found.fit.architecture, found.fit.num_classes, found.fit.channels)
    try:
        network.load_state_dict(found.tensors, strict=True)
    except RuntimeError as error:
        raise TeacherRefusedError(
            f"The weights do not load into {found.fit.architecture}.",
            where=str(original),
            why=str(error).splitlines()[-1].strip(),
            remedy="Name the architecture it was trained with, or export the model as ONNX.",
        ) from error
    return network.eval().requires_grad_(False)


def _fixed_size(network: nn.Module) -> tuple[int, int] | None:
    """The image size of architectures with learned positions."""
    side = getattr(network, "image_size", None)
    if isinstance(side, int):
        return side, side
    configuration = getattr(network, "pretrained_cfg", None)
    if configuration and configuration.get("fixed_input_size"):
        _channels, height, width = configuration["input_size"]
        return height, width
    return None


def _from_onnx(copy: PrivateCopy) -> Candidate:
    model = onnx_graph.parse(copy.path, copy.original)
    copy, data_files = onnx_data.take_in_data(model, copy)
    onnx_graph.check(model, copy.original)
    facts = onnx_graph.read_facts(model, copy.original)
    network, answers = _converted(copy, model, facts)
    findings = _onnx_findings(network, facts, data_files)
    probabilities = bool((answers >= 0).all() and (abs(answers.sum(axis=1) - 1) < 1e-3).all())
    if probabilities:
        findings.append(Finding("info", "It answers probabilities", "Their logarithm is used as logits."))
    return Candidate(
        FileKind.ONNX,
        _onnx_normalisation(facts, findings),
        tuple(findings),
        network=network,
        architecture="onnx",
        num_classes=answers.shape[1],
        channels=facts.channels,
        fixed_size=facts.size,
        answers="probabilities" if probabilities else "logits",
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        data_files=data_files,
    )


def _converted(
    copy: PrivateCopy, model: onnx.ModelProto, facts: onnx_graph.GraphFacts
) -> tuple[onnx_network.OnnxNetwork, npt.NDArray[np.float32]]:
    """The graph as a network for any number of images, and the file's answers on random ones."""
    reference = onnx_parity.Reference(copy.path, copy.original, facts)
    shape = (facts.channels, *onnx_parity.image_size(reference, facts))
    try:
        network = onnx_network.convert(model, facts.batch, copy.original)
        return network, onnx_parity.check_parity(network, reference, shape, copy.original)
    except TeacherRefusedError:
        if facts.batch is None:
            raise
    network = OneByOne(onnx_network.convert(model, None, copy.original), facts.batch)
    return network, onnx_parity.check_parity(network, reference, shape, copy.original)


def _onnx_findings(network: nn.Module, facts: onnx_graph.GraphFacts, data_files: tuple[DataFile, ...]) -> list[Finding]:
    findings = [
        Finding("info", "Converted from ONNX", "Answers and gradients agree with onnxruntime on random images.")
    ]
    findings += [
        Finding("info", f"Weights read from {file.name!r} beside it", f"SHA-256 {file.sha256}")
        for file in data_files[:_SHOWN_DATA_FILES]
    ]
    findings += [
        Finding("warning", f"{file.name!r} may be the data of another model", file.doubt)
        for file in data_files
        if file.doubt
    ]
    if isinstance(network, OneByOne):
        detail = (
            f"It was exported for batches of {facts.batch}, which are answered one by one. What looks into its layers "
            "is not available: the image sources `cmi` and `fast`, activation bounds, the Shuffling Vaccine. Export it "
            "with a dynamic batch, or open the network as a state_dict."
        )
        findings.append(Finding("warning", "The graph rests on the size of its batch", detail))
    elif facts.batch is not None:
        detail = f"The graph was exported for batches of {facts.batch}."
        findings.append(Finding("info", "Fixed batch size removed", detail))
    return findings


def _onnx_normalisation(facts: onnx_graph.GraphFacts, findings: list[Finding]) -> StatedFacts:
    """A graph that begins with arithmetic on its input normalises inside; its numbers tell the range of its pixels."""
    if facts.scale is None:
        return StatedFacts()
    zeros = (0.0,) * facts.channels
    source = "the first nodes of the graph"
    if min(abs(1 / factor) for factor in facts.scale) > _UNIT_RANGE_STD or facts.shift > _UNIT_RANGE_STD:
        findings.append(Finding("info", "The graph normalises inside and takes pixels in [0, 255]"))
        return StatedFacts(mean=zeros, std=(1 / 255,) * facts.channels, source=source)
    findings.append(Finding("info", "The graph normalises inside and takes pixels in [0, 1]"))
    return StatedFacts(mean=zeros, std=(1.0,) * facts.channels, source=source)
