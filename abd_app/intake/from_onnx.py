"""An ONNX file turned into a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from abd_app.errors import TeacherRefusedError
from abd_app.intake import onnx_data, onnx_graph, onnx_network, onnx_parity, onnx_sizes
from abd_app.intake.candidate import Candidate
from abd_app.intake.memory_limit import limited_memory
from abd_app.intake.onnx_batch import OneByOne
from abd_app.intake.private_copy import PrivateCopy, rewritten
from abd_app.intake.sniff import FileKind
from abd_app.intake.stated import StatedFacts
from abd_app.teacher import DataFile, Finding

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    import onnx

_SHOWN_DATA_FILES = 4
_UNIT_RANGE_STD = 2.0
"""A graph that divides pixels by more than this, or subtracts more from them, expects them in [0, 255]."""

_MIXES_IMAGES = Finding(
    "warning",
    "Outputs depend on the rest of the batch",
    "An output changes with the other images of its batch: some operator in the graph mixes images.",
)
_SOFTMAX_REMOVED = Finding("info", "The last softmax was taken away", "What it was given are the logits.")
_PROBABILITIES = Finding("info", "The outputs are probabilities", "Their logarithm is used as logits.")


def from_onnx(copy: PrivateCopy) -> Candidate:
    """The graph as a network that answers as onnxruntime does.

    Raises:
        TeacherRefusedError: It is no classifier of images, or holds something that the app does not convert.
        RunFailedError: The temporary folder has no room for its data files.
    """
    model = onnx_graph.parse(copy.path, copy.original)
    copy, data_files = onnx_data.take_in_data(model, copy)
    onnx_graph.check(model, copy.original)
    softmax_removed = onnx_graph.remove_last_softmax(model)
    if softmax_removed:
        copy = rewritten(copy, model.SerializeToString())
    facts = onnx_graph.read_facts(model, copy.original)
    size_bytes = copy.size_bytes + sum(file.size_bytes for file in data_files)
    images = max(onnx_parity.MOST_IMAGES, facts.batch or 1)
    numbers = images * onnx_sizes.numbers_per_image(model, facts, copy.original)
    with limited_memory(size_bytes, 4 * numbers, copy.original):
        reference = onnx_parity.Reference(copy.path, copy.original, facts)
        shape = (facts.channels, *onnx_parity.image_size(reference, facts))
        network, answers = _converted(model, facts, reference, shape, copy.original)
        mixes_images = onnx_parity.mixes_images(reference, shape)
    probabilities = bool((answers >= 0).all() and (abs(answers.sum(axis=1) - 1) < 1e-3).all())
    findings = _onnx_findings(network, facts, data_files)
    found = {_MIXES_IMAGES: mixes_images, _SOFTMAX_REMOVED: softmax_removed, _PROBABILITIES: probabilities}
    findings += [finding for finding, holds in found.items() if holds]
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
        softmax_removed=softmax_removed,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        data_files=data_files,
    )


def _converted(
    model: onnx.ModelProto,
    facts: onnx_graph.GraphFacts,
    reference: onnx_parity.Reference,
    shape: tuple[int, int, int],
    original: Path,
) -> tuple[onnx_network.OnnxNetwork, npt.NDArray[np.float32]]:
    """The graph as a network for any number of images, and the file's answers on random ones."""
    try:
        network = onnx_network.convert(model, facts.batch, original)
        return network, onnx_parity.check_parity(network, reference, shape, original)
    except TeacherRefusedError:
        if facts.batch is None:
            raise
    network = OneByOne(onnx_network.convert(model, None, original), facts.batch)
    return network, onnx_parity.check_parity(network, reference, shape, original)


def _onnx_findings(network: nn.Module, facts: onnx_graph.GraphFacts, data_files: tuple[DataFile, ...]) -> list[Finding]:
    findings = [
        Finding("info", "Converted from ONNX", "Outputs and gradients agree with onnxruntime on random images.")
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
            f"It was exported for batches of {facts.batch} and runs on groups of that size. What looks into its layers "
            "is not available: the image sources `cmi` and `fast`, activation bounds, the Shuffling Vaccine. Export it "
            "with a dynamic batch, or open the network as a state_dict."
        )
        findings.append(Finding("warning", "The graph only works at its exported batch size", detail))
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
