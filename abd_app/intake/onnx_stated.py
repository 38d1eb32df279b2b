"""What is stated of an ONNX model's images and classes: by its graph, by its metadata, and beside the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from abd_app.intake.sidecars import Beside, judged, read_sidecars
from abd_app.intake.stated import METADATA, StatedFacts, from_metadata
from abd_app.teacher import Finding

if TYPE_CHECKING:
    import onnx

    from abd_app.intake.onnx_graph import GraphFacts

_UNIT_RANGE_STD = 2.0
"""A graph that divides pixels by more than this, or subtracts more from them, expects them in [0, 255]."""
_MOST_METADATA_BYTES = 1 << 20
_PIXELS_ITSELF = "in [0, 1], not normalised"
"""How this app ends what it writes of the ``input``."""


def of_graph(facts: GraphFacts, findings: list[Finding], *, integers: bool) -> StatedFacts:
    """The size that a graph takes alone, and its normalisation, if it begins with arithmetic on its input.

    The numbers of that tell the range of its pixels.

    Args:
        facts: What the graph says.
        findings: One is added.
        integers: Whether the file takes whole numbers, which tell it as well.
    """
    size = StatedFacts(input_size=facts.size).said_by("the input of the graph")
    if facts.scale is None and not integers:
        return size
    zeros = (0.0,) * facts.channels
    source = "the type of the graph's input" if integers else "the first nodes of the graph"
    scale = facts.scale or (1.0,)
    of_bytes = integers or min(abs(1 / factor) for factor in scale) > _UNIT_RANGE_STD or facts.shift > _UNIT_RANGE_STD
    std = 1 / 255 if of_bytes else 1.0
    findings.append(Finding("info", f"The graph normalises inside and takes pixels in [0, {255 if of_bytes else 1}]"))
    return size.merged(StatedFacts(mean=zeros, std=(std,) * facts.channels).said_by(source))


def of_others(model: onnx.ModelProto, original: Path, graph: StatedFacts, *, num_classes: int) -> Beside:
    """What the metadata and the files beside an ONNX file say; what ``graph`` states has been taken from it already.

    The names of as many classes as the model has are taken from its metadata. Its normalisation and image size are
    proposed: they may be those of a step in the graph.

    Args:
        model: The whole of it.
        original: Where the file is.
        graph: By :func:`of_graph`.
        num_classes: That it tells apart.
    """
    metadata = _metadata(model)
    names = metadata.only("class_names") if len(metadata.class_names) == num_classes else StatedFacts()
    beside = judged(read_sidecars(original), graph.merged(names), original, names=(), num_classes=num_classes)
    proposed = metadata.only("mean", "std", "input_size").merged(beside.proposed)
    return Beside(names.merged(beside.taken), proposed, beside.findings)


def _metadata(model: onnx.ModelProto) -> StatedFacts:
    entries = {entry.key: entry.value for entry in model.metadata_props}
    if sum(map(len, entries.values())) > _MOST_METADATA_BYTES:
        return StatedFacts()
    facts = from_metadata(entries, METADATA)
    if entries.get("input", "").endswith(_PIXELS_ITSELF):
        pixels = StatedFacts(mean=(0.0,), std=(1.0,)).said_by(METADATA)
        return pixels.merged(facts.only("class_names", "input_size"))
    return facts
