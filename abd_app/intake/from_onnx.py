"""An ONNX file turned into a network."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

from torch import nn

from abd_app.errors import TeacherRefusedError
from abd_app.intake import (
    onnx_data,
    onnx_graph,
    onnx_layout,
    onnx_network,
    onnx_parity,
    onnx_precision,
    onnx_sizes,
    onnx_stated,
)
from abd_app.intake.candidate import Candidate
from abd_app.intake.memory_limit import is_for_lack_of_memory, limited_memory
from abd_app.intake.onnx_batch import OneByOne
from abd_app.intake.private_copy import PrivateCopy, rewritten
from abd_app.intake.sniff import FileKind
from abd_app.teacher import DataFile, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    import onnx

Size = tuple[int, int]
Shape = tuple[int, int, int]

_SHOWN_DATA_FILES = 4
_AGREE = 1e-5
"""Of the largest output: what float32 rounds away."""

_MIXES_IMAGES = Finding(
    "warning",
    "Outputs depend on the rest of the batch",
    "An output changes with the other images of its batch: some operator in the graph mixes images.",
)
_CHANNELS_LAST = Finding(
    "info", "Channels put first", "The file takes (N, H, W, C); a transpose is in front of it here."
)
_FLATTENED = Finding("info", "Outputs flattened", "The file answers (N, K, 1, 1); its K numbers are the outputs here.")
_PROBABILITIES = Finding("info", "The outputs are probabilities", "Their logarithm is used as logits.")
_FOUND = (_CHANNELS_LAST, _FLATTENED, _MIXES_IMAGES, _PROBABILITIES)


def from_onnx(copy: PrivateCopy, wanted: Size | None = None) -> Candidate:
    """The graph as a network that answers as onnxruntime does; ``wanted`` is the size that the user says images have.

    Raises:
        TeacherRefusedError: It is no classifier of images, or holds something that the app does not convert.
        RunFailedError: The temporary folder has no room for its data files.
    """
    model, copy, data_files, made_logits = _model_of_logits(copy)
    before, input_type = copy, onnx_precision.input_type(model)
    if other_types := onnx_precision.put_in_float32(model, copy.original):
        copy = rewritten(copy, model.SerializeToString())
    channels_last, flattened = onnx_layout.put_channels_first(model), onnx_layout.flatten_answers(model)
    facts = onnx_graph.read_facts(model, copy.original)
    with _limited_memory(model, facts, copy, data_files, wanted):
        reference = onnx_parity.Reference(copy.path, copy.original, facts, channels_last=channels_last)
        network, answers, shape = _converted(model, facts, reference, wanted, copy.original)
        mixes = onnx_parity.mixes_images(reference, shape)
        difference = reference.difference_from(before.path, input_type, shape) if other_types else None
    findings = _onnx_findings(network, facts, data_files) + _precision_findings(other_types, difference)
    probabilities = _are_probabilities(answers)
    findings += itertools.compress(_FOUND, (channels_last, flattened, mixes, probabilities))
    graph = onnx_stated.of_graph(facts, findings, integers=input_type == "uint8")
    more = onnx_stated.of_others(model, copy.original, graph, num_classes=answers.shape[1])
    return Candidate(
        FileKind.ONNX,
        graph.merged(more.taken),
        (*findings, *made_logits, *more.findings),
        network=network,
        architecture="onnx",
        num_classes=answers.shape[1],
        channels=facts.channels,
        fixed_size=facts.size,
        answers="probabilities" if probabilities else "logits",
        answers_logits_instead=bool(made_logits),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        data_files=data_files,
        proposed=more.proposed,
        normalises_inside=graph.mean is not None,
    )


def _model_of_logits(
    copy: PrivateCopy,
) -> tuple[onnx.ModelProto, PrivateCopy, tuple[DataFile, ...], list[Finding]]:
    """The checked graph with all its weights, the copy that holds it, where they come from, and what was changed."""
    model = onnx_graph.parse(copy.path, copy.original)
    copy, data_files = onnx_data.take_in_data(model, copy)
    onnx_graph.check(model, copy.original)
    onnx_layout.declare_width(model)
    if made_logits := onnx_layout.answer_logits(model):
        copy = rewritten(copy, model.SerializeToString())
    return model, copy, data_files, made_logits


def _limited_memory(
    model: onnx.ModelProto,
    facts: onnx_graph.GraphFacts,
    copy: PrivateCopy,
    data_files: Iterable[DataFile],
    wanted: Size | None,
) -> AbstractContextManager[None]:
    """The bound of what a graph may take while it is tried: for its weights, and for answers to a few images."""
    numbers = onnx_sizes.numbers_per_image(model, facts, copy.original, wanted=wanted)
    file_bytes = copy.size_bytes + sum(file.size_bytes for file in data_files)
    return limited_memory(file_bytes, 4 * numbers * max(onnx_parity.MOST_IMAGES, facts.batch or 1), copy.original)


def _are_probabilities(answers: npt.NDArray[np.float32]) -> bool:
    return bool((answers >= 0).all() and (abs(answers.sum(axis=1) - 1) < 1e-3).all())


def _converted(
    model: onnx.ModelProto,
    facts: onnx_graph.GraphFacts,
    reference: onnx_parity.Reference,
    wanted: Size | None,
    original: Path,
) -> tuple[onnx_network.OnnxNetwork, npt.NDArray[np.float32], Shape]:
    """The graph as a network for any number of images; the file's answers on random ones, and the (C, H, W) of these.

    Raises:
        TeacherRefusedError: Neither the simplified graph nor the whole one becomes a network that answers as the file.
    """

    def attempt(
        graph: onnx.ModelProto, batch: int | None, *, closed: bool = False, simplified: bool = True
    ) -> tuple[onnx_network.OnnxNetwork, npt.NDArray[np.float32], Shape]:
        network = onnx_network.convert(graph, None if closed else batch, original, simplified=simplified)
        network = OneByOne(network, facts.batch) if closed and facts.batch else network
        shape = (facts.channels, *onnx_parity.image_size(network, reference, facts, wanted))
        return network, onnx_parity.check_parity(network, reference, shape), shape

    ways = [
        functools.partial(attempt, model, facts.batch, closed=closed, simplified=simplified)
        for closed, simplified in itertools.product((False, True) if facts.batch else (False,), (True, False))
    ]
    plain = onnx_network.without_computed_shapes(model) if facts.batch is None and facts.size else None
    if plain is not None:
        ways.insert(0, functools.partial(attempt, plain, 1))
    refusals = []
    for way in ways:
        try:
            return way()
        except TeacherRefusedError as refusal:
            if is_for_lack_of_memory(refusal):
                raise
            refusal.__cause__ = refusal.__context__ = None  # their frames hold the network
            refusals.append(refusal.with_traceback(None))
    raise refusals[0 if plain is None else 1]  # of the graph that is closest to the file


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


def _precision_findings(other_types: Iterable[str], difference: float | None) -> list[Finding]:
    """What is said of a graph that was put into float32: which types it had, and how far it is from the file."""
    if not (types := " and ".join(other_types)):
        return []
    if difference is None:
        detail = f"The file has {types}, which onnxruntime does not run here: it could not be compared with float32."
        return [Finding("warning", "Taken in single precision, untested", detail)]
    far = "agree" if difference < _AGREE else f"differ by at most {100 * difference:.2g} % of the largest"
    return [Finding("info", "Taken in single precision", f"The file has {types}. In float32 its outputs {far}.")]
