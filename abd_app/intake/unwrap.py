"""From what a weights file holds to one flat state_dict in fp32, and the facts that came with it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import torch

from abd_app.errors import TeacherRefusedError
from abd_app.intake.arrays import with_tensors_for_arrays
from abd_app.intake.conversion import MOST_REPEATED_BYTES, Converted, repeated
from abd_app.intake.folding import folded
from abd_app.intake.stated import StatedFacts, for_unit_pixels, from_dict, is_dense
from abd_app.intake.without_weights import MAX_DEPTH, WRAPPERS, no_weights, refuse_own_checkpoint, shown
from abd_app.teacher import Finding

Tensors = dict[str, torch.Tensor]

_NORMALISATION = (("mean", "std"), ("mu", "sigma"), ("new_mean", "new_std"), ("pixel_mean", "pixel_std"))
"""What layers in front of a network call the numbers by which they normalise."""
_WRAPPED = re.compile(r"(?:(?<=\.)|^)(_orig_mod|_forward_module|_fsdp_wrapped_module)\.")
"""Components of names that compiling and distributing put there."""
_NOT_OF_A_NETWORK = re.compile(r"crit|loss|metric|acc|auroc|prec|recall|confmat|step|init")
"""In the names of what training keeps beside a network: losses, metrics, counters."""
_BOOKKEEPING = frozenset(("total_ops", "total_params", "n_averaged", "initted", "step"))
"""Leaves that profilers and weight averaging add to a state_dict."""
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
"""Modules whose names had a dot in them."""
_NEARLY_ALL, _MOST_BESIDE = 0.9, 3
"""Of the tensors that a wrapper holds, the share that is the network, and how many may lie beside it."""
_AVERAGE = re.compile(r"(^|_)(ema|swa|averaged?)(_|$)")
"""The part of a checkpoint that holds the average of another part's weights over the last steps of training."""


@dataclass(frozen=True)
class Weights:
    """A state_dict without wrappers and prefixes.

    Attributes:
        tensors: Floating-point ones in fp32.
        stated: What the file says besides.
        findings: What was done to get here, and what a reviewer should know.
    """

    tensors: Tensors
    stated: StatedFacts
    findings: tuple[Finding, ...]


def unwrap(content: object, original: Path) -> Weights:
    """Finds the weights in ``content`` and brings them into their plain form.

    Raises:
        TeacherRefusedError: There are no weights, or tensors of a kind that no classifier has.
    """
    findings: list[Finding] = []
    stated = StatedFacts()
    path: list[str] = []
    if arrays := with_tensors_for_arrays(content):
        findings.append(Finding("info", "The weights are stored as NumPy arrays", f"{arrays} were read as tensors."))
    refuse_own_checkpoint(content, original)
    while not _is_state_dict(content):
        if isinstance(content, Mapping):
            stated = stated.merged(from_dict(content, "the file"))
        name = _wrapper(content, MAX_DEPTH - len(path))
        if name is None or not isinstance(content, Mapping):
            raise no_weights(content, original)
        findings += _others(content, name)
        path.append(name)
        content = content[name]
    if path and path[-1] not in WRAPPERS:
        findings.append(Finding("info", "Weights found under an unusual name", "/".join(path)))
    if path and "ema" in path[-1]:
        findings.append(Finding("info", "The averaged (EMA) weights are used", "/".join(path)))
    assert isinstance(content, Mapping)
    tensors = folded(_plain(content, original, findings), findings)
    broken = [name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        findings.append(Finding("danger", "Some weights are NaN or infinite", shown(broken)))
    tensors, normalisation = _strip(tensors, findings, averaged=_has_averaged(content))
    return Weights(_modernised(tensors), stated.merged(normalisation), tuple(findings))


def _others(content: Mapping[object, object], taken: str) -> list[Finding]:
    """What is said of networks beside the one that was taken; what an average was made of is no other one."""
    network, averaged = content[taken], "ema" in taken
    others = {key: one for key, one in content.items() if key not in (taken, "optimizer") and _is_state_dict(one)}
    names = [repr(key) for key, one in others.items() if not (averaged and _held_shapes(one) == _held_shapes(network))]
    if not names:
        return []
    detail = f"{taken!r} was taken; beside it: {shown(names)}. Open the other one as a file of its own."
    return [Finding("warning", "The file holds more than one network", detail)]


def _held_shapes(content: object) -> Counter[torch.Size]:
    values = content.values() if isinstance(content, Mapping) else ()
    return Counter(value.shape for value in values if isinstance(value, torch.Tensor))


def _is_state_dict(content: object) -> bool:
    """Whether most of it is tensors, and the weights are not one level below, with mean and std beside them."""
    if not _has_tensors(content):
        return False
    below = {name: value for name, value in content.items() if _has_tensors(value)}
    own = len(content) - len(below)
    return not any(name in WRAPPERS or len(value) > own for name, value in below.items())


def _has_tensors(content: object) -> TypeGuard[Mapping[str, object]]:
    if not isinstance(content, Mapping) or not content:
        return False
    tensors = sum(isinstance(value, torch.Tensor) for value in content.values())
    return all(isinstance(key, str) for key in content) and tensors > len(content) / 2


def _wrapper(content: object, depth: int) -> str | None:
    """The key under which the weights are, at most ``depth`` down: a usual one, or the only one of a state_dict."""
    if not isinstance(content, Mapping) or not depth:
        return None
    for name in WRAPPERS:  # which may hold options as well
        value = content.get(name)
        if _is_state_dict(value) or _wrapper(value, depth - 1) is not None:
            return name
    found = [name for name, value in content.items() if isinstance(name, str) and _is_state_dict(value)]
    return found[0] if len(found) == 1 else None


def _has_averaged(content: Mapping[str, object]) -> bool:
    """Whether an average in it, if there is one, has begun: its counter or flag is not 0."""
    counters = [value for name, value in content.items() if name.rpartition(".")[2] in ("n_averaged", "initted")]
    return not any(
        isinstance(one, torch.Tensor) and is_dense(one) and one.numel() == 1 and not one.item() for one in counters
    )


def _plain(content: Mapping[str, object], original: Path, findings: list[Finding]) -> Tensors:
    """Drops bookkeeping, turns every float type to fp32, and reports both."""
    tensors: Tensors = {}
    dropped: list[str] = []
    dtypes: set[torch.dtype] = set()
    converted = Converted()
    for name, value in content.items():
        if not isinstance(value, torch.Tensor) or name.rpartition(".")[2] in _BOOKKEEPING:
            dropped.append(name)
            continue
        if not is_dense(value):
            raise TeacherRefusedError(
                "The file holds sparse, quantised, complex or empty ('meta') tensors.",
                where=f"{original}: {name}",
                remedy="Save the model with ordinary floating-point weights.",
            )
        claimed, stored = value.numel() * value.element_size(), value.untyped_storage().nbytes()
        if claimed > max(stored, MOST_REPEATED_BYTES):
            raise repeated(f"{original}: {name}", stored, claimed)
        if value.is_floating_point() and value.dtype is not torch.float32:
            dtypes.add(value.dtype)
            value = converted.of(value, f"{original}: {name}")
        tensors[name] = value.detach()
    if dropped:
        findings.append(Finding("info", f"{len(dropped)} entries that are not weights were left out", shown(dropped)))
    if dtypes:
        types = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
        findings.append(Finding("info", "Weights converted to fp32", f"The file stores {types}."))
    return tensors


def _strip(tensors: Tensors, findings: list[Finding], *, averaged: bool) -> tuple[Tensors, StatedFacts]:
    """Removes training wrappers' prefixes, what lies beside the network, and a normalisation layer in front.

    The layer's numbers become stated facts, in pixels of [0, 1] whatever range they were written for.
    """
    tensors = _without_wrappers(tensors)
    tensors, stated = _without_normalisation(tensors)
    tensors = _without_second(tensors, findings, averaged=averaged)
    while prefix := _common_prefix(tensors) or _main_prefix(tensors):
        beside = [name for name in tensors if not name.startswith(prefix)]
        if beside:
            title = f"{len(beside)} tensors beside the network were left out"
            findings.append(Finding("info", title, f"The network is under {prefix!r}; left out: {shown(beside)}"))
        inside = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        tensors = _without_second(_without_wrappers(inside), findings, averaged=averaged)
    return tensors, stated


def _without_wrappers(tensors: Tensors) -> Tensors:
    """Without what parallel and compiled modules put before or into names, unless two names would become one."""
    plain = {_WRAPPED.sub("", name): value for name, value in tensors.items()}
    while any(name.startswith("module.") for name in plain):
        plain = {name.removeprefix("module."): value for name, value in plain.items()}
    return plain if len(plain) == len(tensors) else tensors


def _without_normalisation(tensors: Tensors) -> tuple[Tensors, StatedFacts]:
    """Without the numbers of one normalisation layer, and these; numbers that normalise no pixels stay."""
    stated = StatedFacts()
    for leaves in _NORMALISATION:
        found = [{name for name in tensors if name.rpartition(".")[2] == leaf} for leaf in leaves]
        if not all(tensors[name].numel() in (1, 3) for names in found for name in names):
            continue
        distinct = [{tuple(tensors[name].flatten().tolist()) for name in names} for names in found]
        if not all(len(numbers) == 1 for numbers in distinct):
            continue
        written = [next(iter(numbers)) for numbers in distinct]
        pixels = for_unit_pixels(*written)
        if pixels is not None:
            tensors = {name: value for name, value in tensors.items() if name not in found[0] | found[1]}
            source = "the normalisation layer in the file" + (
                "" if pixels == tuple(written) else ", for pixels in [0, 255]"
            )
            stated = StatedFacts(mean=pixels[0], std=pixels[1]).said_by(source)
    return tensors, stated


def _without_second(tensors: Tensors, findings: list[Finding], *, averaged: bool) -> Tensors:
    """Leaves out a second network of the same kind, where little lies beside both.

    That is what was averaged beside its average, the average if it never began, or a copy of every tensor.
    """
    parts: dict[str, Tensors] = defaultdict(dict)
    for name, value in tensors.items():
        first, _dot, rest = name.partition(".")
        parts[first][rest.removeprefix("module.")] = value
    networks = {first: part for first, part in parts.items() if len(part) > len(tensors) / 3}
    beside = [value for first, part in parts.items() if first not in networks for value in part.values()]
    if any(one.dim() > 1 for one in beside):  # a head, which may belong to either
        return tensors
    for first, part in networks.items():
        averages = [other for other in networks if _AVERAGE.search(other) and _shapes(networks[other]) == _shapes(part)]
        if averages and not _AVERAGE.search(first):
            average, left_out = averages[0], first if averaged else averages[0]
            said = (
                "The averaged (EMA) weights are used"
                if averaged
                else "Averaged weights were left out: averaging never began"
            )
            findings.append(Finding("info", said, f"{average} beside {first}"))
        elif all(name in tensors and torch.equal(value, tensors[name]) for name, value in part.items()):
            left_out = first
            findings.append(Finding("info", "A copy of the network was left out", f"It is under {first!r}."))
        else:
            continue
        return {name: value for name, value in tensors.items() if name.partition(".")[0] != left_out}
    return tensors


def _shapes(tensors: Tensors) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in tensors.items()}


def _main_prefix(tensors: Tensors) -> str:
    """The first component under which nearly all tensors lie, with its dot; the rest are losses and metrics."""
    firsts = Counter(name.partition(".")[0] for name in tensors)
    ((first, inside),) = firsts.most_common(1) if firsts else (("", 0),)
    second = {name.split(".")[1] for name in tensors if name.startswith(f"{first}.")}
    beside = {name: value for name, value in tensors.items() if not name.startswith(f"{first}.")}
    unused = all(one.dim() < 2 and (one.numel() == 1 or _NOT_OF_A_NETWORK.search(name)) for name, one in beside.items())
    losses = len(beside) <= _MOST_BESIDE and inside > len(tensors) * _NEARLY_ALL and unused
    return f"{first}." if losses and not any(part.isdigit() for part in second) else ""


def _modernised(tensors: Tensors) -> Tensors:
    """What files of old PyTorch versions lack or name otherwise: counters of BatchNorm, layers of DenseNet.

    The counters (since PyTorch 0.4.1) are of no use in eval mode.
    """
    renamed = {_OLD_DENSENET.sub(r"\1\2", name): value for name, value in tensors.items()}
    layers = [name.removesuffix("running_var") for name in renamed if name.rpartition(".")[2] == "running_var"]
    counters = {f"{layer}num_batches_tracked": torch.tensor(0) for layer in layers}
    return {**counters, **renamed}


def _common_prefix(tensors: Tensors) -> str:
    """The first component of all names, with its dot, if it wraps several modules or another wrapper."""
    first = {name.partition(".")[0] for name in tensors}
    rests = {name.partition(".")[2] for name in tensors}
    second = {rest.partition(".")[0] for rest in rests}
    wraps = (len(second) > 1 and "" not in second) or all("." in rest for rest in rests)
    return f"{first.pop()}." if len(first) == 1 and wraps else ""
