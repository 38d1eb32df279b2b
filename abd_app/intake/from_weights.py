"""A state_dict turned into a network."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

from torch import nn

from abd_app.errors import TeacherRefusedError
from abd_app.intake.candidate import Candidate
from abd_app.intake.heads import Head
from abd_app.intake.hugging_face import in_library_names, settled, stated_model
from abd_app.intake.onnx_graph import ONE_OUTPUT
from abd_app.intake.recognise import Recognised, Tensors, fit_named, nearest_fits, recognise
from abd_app.intake.sidecars import judged, read_sidecars
from abd_app.intake.sniff import FileKind
from abd_app.intake.stated import StatedFacts
from abd_app.intake.unwrap import Weights
from abd_app.networks import catalog
from abd_app.networks.fingerprints import Fit
from abd_app.plan import TeacherFacts
from abd_app.teacher import Finding, Severity

_SHOWN_ALTERNATIVES, _SHOWN_MISSING = 4, 3
_SMALL_PART, _LARGE_SHARE = 3, 0.1
"""Tensors of what is no network of its own, and the share of a file's tensors that one of several has."""


def from_weights(kind: FileKind, weights: Weights, original: Path, facts: TeacherFacts) -> Candidate:
    """The network of the architecture that the weights fit, or the nearest ones.

    Args:
        kind: Of the file.
        weights: What it holds.
        original: Where it is.
        facts: What the user says: the architecture, or what helps to choose between several.

    Raises:
        TeacherRefusedError: They are no classifier's.
        UsageError: They do not fit the architecture that the user named.
    """
    findings, stated = list(weights.findings), weights.stated
    beside = read_sidecars(original)
    tensors, layout = in_library_names(weights.tensors) or (weights.tensors, None)
    weights = dataclasses.replace(weights, tensors=tensors)
    found = _found(tensors, facts, stated.merged(beside))
    if found is None:
        return _unrecognised(kind, weights, original, beside)
    names = (found.fit.architecture, *found.also_fit, *((layout.model,) if layout is not None else ()))
    judgement = judged(beside, stated, original, names=names, num_classes=found.fit.num_classes)
    findings += judgement.findings
    findings += _recognition_findings(found, certain=bool(facts.architecture or found.hinted or layout))
    network = _loaded(found, original)
    if layout is not None:
        findings.append(settled(network, layout, original))
    return Candidate(
        kind,
        stated.merged(judgement.taken),
        tuple(findings),
        proposed=judgement.proposed,
        network=network,
        architecture=found.fit.architecture,
        num_classes=found.fit.num_classes,
        channels=found.fit.channels,
        fixed_size=_fixed_size(network),
        answers="logits",
        parameters=sum(parameter.numel() for parameter in network.parameters()),
    )


def _found(tensors: Tensors, facts: TeacherFacts, stated: StatedFacts) -> Recognised | None:
    if facts.architecture:
        return fit_named(facts.architecture, tensors)
    return recognise(tensors, StatedFacts(input_size=facts.input_size, mean=facts.mean, std=facts.std).merged(stated))


def _recognition_findings(found: Recognised, *, certain: bool) -> list[Finding]:
    findings = []
    if found.also_fit and not certain:
        shown = ", ".join(found.also_fit[:_SHOWN_ALTERNATIVES]) + (
            " …" if len(found.also_fit) > _SHOWN_ALTERNATIVES else ""
        )
        detail = (
            f"Also fitting: {shown}. They may differ in activation, stride, padding or image size, and then answer "
            f"otherwise. If it is another one, say so: --arch {found.also_fit[0]}"
        )
        # A rival of torchvision's is rare, and a warning about the commonest files of all would be read by nobody.
        severity: Severity = "info" if found.fit.architecture.startswith("torchvision/") else "warning"
        findings.append(Finding(severity, f"Several architectures fit; {found.fit.architecture} was taken", detail))
    if found.head is not None:
        findings.append(_head_finding(found.head, found.fit.architecture))
    elif found.renamed:
        detail = (
            "Its layers have other names. Strides, pooling and activations are not in the weights: check the accuracy."
        )
        findings.append(Finding("warning", f"Read as {found.fit.architecture}", detail))
    if found.left_out:
        detail = f"{len(found.left_out)} tensors of an auxiliary classifier, which only training uses."
        findings.append(Finding("info", "Training-only parts were left out", detail))
    return findings


def _head_finding(head: Head, architecture: str) -> Finding:
    """What was put in the place of the last layers, and what had to be assumed about it."""
    assumed = "Activations and the type of a normalisation are not in the weights: check the accuracy. "
    detail = f"In the place of {head.place}: {head.describe()}, assumed to follow the features directly. {assumed}"
    remedy = "If it is wrong, export the model as ONNX and open that."
    return Finding("warning", f"Read as {architecture} with other last layers", detail + remedy)


def _unrecognised(kind: FileKind, weights: Weights, original: Path, beside: StatedFacts) -> Candidate:
    fits = nearest_fits(weights.tensors)
    if not fits:
        raise _foreign(weights.tensors, original)
    if _lacks_a_few(fits[0], len(weights.tensors)):
        raise _incomplete(fits[0], original)
    parameters = sum(value.numel() for value in weights.tensors.values())
    judgement = judged(beside, weights.stated, original, names=(), num_classes=None)
    return Candidate(
        kind,
        weights.stated.merged(judgement.taken),
        (*weights.findings, *judgement.findings),
        proposed=judgement.proposed,
        parameters=parameters,
        nearest=fits,
    )


def _lacks_a_few(nearest: Fit, tensors: int) -> bool:
    lacks_alone = nearest.missing and not (nearest.unexpected or nearest.differing)
    return bool(lacks_alone) and len(nearest.missing) <= max(_SMALL_PART, _LARGE_SHARE * tensors)


def _incomplete(nearest: Fit, original: Path) -> TeacherRefusedError:
    count = len(nearest.missing)
    lacking = "one of its weights" if count == 1 else f"{count} of its weights"
    missing = ", ".join(nearest.missing[:_SHOWN_MISSING]) + " and more" * (count > _SHOWN_MISSING)
    return TeacherRefusedError(
        f"The file matches {nearest.architecture} but lacks {lacking}.",
        where=str(original),
        why=f"It lacks {missing}.",
        remedy="Ask its author for the whole torch.save(model.state_dict(), 'weights.pth'). If the network has no such "
        "layers, export it as ONNX and open that.",
    )


def _foreign(tensors: Tensors, original: Path) -> TeacherRefusedError:
    # A layer of a plain network is no part: only what holds modules of its own is.
    parts = Counter(name.partition(".")[0] for name in tensors if name.count(".") > 1)
    large = [repr(part) for part, count in parts.items() if count > max(_SMALL_PART, _LARGE_SHARE * len(tensors))]
    if len(large) > 1:
        return TeacherRefusedError(
            "The file holds several networks, or one with parts that the app does not know.",
            where=str(original),
            why=f"Its tensors lie under {', '.join(large)}.",
            remedy="Save the classifier alone, as torch.save(model.student.state_dict(), ...), or export it as ONNX.",
        )
    shown = [name for name in tensors if not name.endswith("num_batches_tracked")]
    return TeacherRefusedError(
        "These weights belong to no image classifier the app knows.",
        where=str(original),
        why=f"None of its architectures shares a tensor with them ({', '.join(shown[:3])}, …)."
        + (f" By the config.json beside it, it is a {model}." if (model := stated_model(original)) else ""),
        remedy="Export the model as ONNX and open that.",
    )


def _loaded(found: Recognised, original: Path) -> nn.Module:
    if found.fit.num_classes < 2:
        raise TeacherRefusedError(
            "The teacher has a single output, not one per class.",
            where=str(original),
            why="Its last layer has one row.",
            remedy=f"Open a classifier with two logits or more. {ONE_OUTPUT}",
        )
    network = catalog.build(found.fit.architecture, found.fit.num_classes, found.fit.channels)
    if found.head is not None:
        network.set_submodule(found.head.place, found.head.layers.to_empty(device="cpu"))
    state = network.state_dict()  # It knows the versions of its layers, which some of them ask for.
    state.clear()
    state.update(found.tensors)
    try:
        network.load_state_dict(state, strict=True)
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
