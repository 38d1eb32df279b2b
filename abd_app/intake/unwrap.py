"""From what a weights file holds to one flat state_dict in fp32, and the facts that came with it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from abd_app.errors import TeacherRefusedError
from abd_app.intake.stated import StatedFacts, from_dict
from abd_app.teacher import Finding

Tensors = dict[str, torch.Tensor]

_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "net")
_NORMALISATION = (("mean", "std"), ("mu", "sigma"), ("new_mean", "new_std"))
"""What layers in front of a network call the numbers by which they normalise."""
_PREFIXES = ("module.", "_orig_mod.")
_BOOKKEEPING = frozenset(("total_ops", "total_params", "n_averaged"))
"""Leaves that profilers and weight averaging add to a state_dict."""
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
"""Modules whose names had a dot in them."""
_NEARLY_ALL, _MOST_BESIDE = 0.9, 3
"""Of the tensors that a wrapper holds, the share that is the network, and how many may lie beside it."""
_AVERAGE = re.compile(r"(^|_)(ema|swa|averaged?)(_|$)")
"""The part of a checkpoint that holds the average of another part's weights over the last steps of training."""
_MAX_DEPTH = 4
_SHOWN_KEYS = 3


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
    while not _is_state_dict(content):
        if isinstance(content, Mapping):
            stated = stated.merged(from_dict(content, "the file"))
        name = _wrapper(content) if len(path) < _MAX_DEPTH else None
        if name is None or not isinstance(content, Mapping):
            raise _no_weights(content, original)
        path.append(name)
        content = content[name]
    if path and path[-1] not in _WRAPPERS:
        findings.append(Finding("info", "Weights found under an unusual name", "/".join(path)))
    if path and "ema" in path[-1]:
        findings.append(Finding("info", "The averaged (EMA) weights are used", "/".join(path)))
    assert isinstance(content, Mapping)
    tensors = _plain(content, original, findings)
    tensors, normalisation = _strip(tensors, findings)
    return Weights(_modernised(tensors), stated.merged(normalisation), tuple(findings))


def _is_state_dict(content: object) -> bool:
    if not isinstance(content, Mapping) or not content:
        return False
    tensors = sum(isinstance(value, torch.Tensor) for value in content.values())
    return all(isinstance(key, str) for key in content) and tensors > len(content) / 2


def _wrapper(content: object) -> str | None:
    """The key under which the weights are: a usual one, or the only one that holds a state_dict."""
    if not isinstance(content, Mapping):
        return None
    for name in _WRAPPERS:
        if isinstance(content.get(name), Mapping):
            return name
    found = [name for name, value in content.items() if isinstance(name, str) and _is_state_dict(value)]
    return found[0] if len(found) == 1 else None


def _plain(content: Mapping[str, object], original: Path, findings: list[Finding]) -> Tensors:
    """Drops bookkeeping, turns every float type to fp32, and reports both."""
    tensors: Tensors = {}
    dropped: list[str] = []
    dtypes: set[torch.dtype] = set()
    for name, value in content.items():
        if not isinstance(value, torch.Tensor) or name.rpartition(".")[2] in _BOOKKEEPING:
            dropped.append(name)
            continue
        if value.layout is not torch.strided or value.is_quantized or value.is_complex():
            raise TeacherRefusedError(
                "The file holds sparse, quantised or complex tensors.",
                where=f"{original}: {name}",
                remedy="Save the model with ordinary floating-point weights.",
            )
        if value.is_floating_point() and value.dtype is not torch.float32:
            dtypes.add(value.dtype)
            value = value.float()
        tensors[name] = value.detach()
    if dropped:
        findings.append(Finding("info", f"{len(dropped)} entries that are not weights were left out", _shown(dropped)))
    if dtypes:
        types = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
        findings.append(Finding("info", "Weights converted to fp32", f"The file stores {types}."))
    broken = [name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        findings.append(Finding("danger", "Weights that are not numbers (NaN or infinite)", _shown(broken)))
    return tensors


def _strip(tensors: Tensors, findings: list[Finding]) -> tuple[Tensors, StatedFacts]:
    """Removes training wrappers' prefixes, what lies beside the network, and a normalisation layer in front.

    The layer's numbers become stated facts, in pixels of [0, 1] whatever range they were written for.
    """
    while any(name.startswith(_PREFIXES) for name in tensors):
        for prefix in _PREFIXES:
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    stated = StatedFacts()
    for leaves in _NORMALISATION:
        found = [{name for name in tensors if name.rpartition(".")[2] == leaf} for leaf in leaves]
        distinct = [{tuple(tensors[name].flatten().tolist()) for name in names} for names in found]
        if not all(len(numbers) == 1 and len(next(iter(numbers))) in (1, 3) for numbers in distinct):
            continue
        tensors = {name: value for name, value in tensors.items() if name not in found[0] | found[1]}
        values = [next(iter(numbers)) for numbers in distinct]
        if min(values[1]) > 0:
            most = 255.0 if max(values[0]) > 1 else 1.0
            mean, std = (tuple(value / most for value in numbers) for numbers in values)
            source = "the normalisation layer in the file" + (", for pixels in [0, 255]" if most > 1 else "")
            stated = StatedFacts(mean=mean, std=std, source=source)
    tensors = _without_second(tensors, findings)
    while prefix := _common_prefix(tensors) or _main_prefix(tensors):
        beside = [name for name in tensors if not name.startswith(prefix)]
        if beside:
            title = f"{len(beside)} tensors beside the network were left out"
            findings.append(Finding("info", title, f"The network is under {prefix!r}; left out: {_shown(beside)}"))
        inside = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        tensors = _without_second(inside, findings)
    return tensors, stated


def _without_second(tensors: Tensors, findings: list[Finding]) -> Tensors:
    """Leaves out a second network of the same kind: what was averaged beside its average, or a copy of every tensor."""
    parts: dict[str, Tensors] = defaultdict(dict)
    for name, value in tensors.items():
        first, _dot, rest = name.partition(".")
        parts[first][rest.removeprefix("module.")] = value
    for first, part in parts.items():
        averages = [other for other in parts if _AVERAGE.search(other) and _same_shapes(parts[other], part)]
        if averages and not _AVERAGE.search(first):
            findings.append(Finding("info", "The averaged (EMA) weights are used", f"{averages[0]} beside {first}"))
        elif all(name in tensors and torch.equal(value, tensors[name]) for name, value in part.items()):
            findings.append(Finding("info", "A copy of the network was left out", f"It is under {first!r}."))
        else:
            continue
        return {name: value for name, value in tensors.items() if name.partition(".")[0] != first}
    return tensors


def _same_shapes(first: Tensors, second: Tensors) -> bool:
    return len(first) > 1 and {k: v.shape for k, v in first.items()} == {k: v.shape for k, v in second.items()}


def _main_prefix(tensors: Tensors) -> str:
    """The first component under which nearly all tensors lie, with its dot; the rest are losses and metrics."""
    firsts = Counter(name.partition(".")[0] for name in tensors)
    ((first, inside),) = firsts.most_common(1) if firsts else (("", 0),)
    second = {name.split(".")[1] for name in tensors if name.startswith(f"{first}.")}
    beside = [value for name, value in tensors.items() if not name.startswith(f"{first}.")]
    losses = (
        len(beside) <= _MOST_BESIDE and inside > len(tensors) * _NEARLY_ALL and all(one.dim() < 2 for one in beside)
    )
    return f"{first}." if losses and len(second) > 1 and not any(part.isdigit() for part in second) else ""


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
    second = {name.partition(".")[2].partition(".")[0] for name in tensors}
    wraps = (len(second) > 1 and "" not in second) or second == {"module"}
    return f"{first.pop()}." if len(first) == 1 and wraps else ""


def _no_weights(content: object, original: Path) -> TeacherRefusedError:
    held = type(content).__name__
    if isinstance(content, Mapping):
        held = "a dictionary with " + (_shown([repr(key) for key in content]) or "nothing in it")
    return TeacherRefusedError(
        "There are no weights in the file.",
        where=str(original),
        why=f"It holds {held}, and no state_dict under {', '.join(_WRAPPERS)}.",
        remedy="Save the model's state_dict: torch.save(model.state_dict(), 'weights.pth').",
    )


def _shown(names: list[str]) -> str:
    printable = [re.sub(r"[^\x20-\x7e]", "?", name)[:80] for name in names[:_SHOWN_KEYS]]
    return ", ".join(printable) + (f" and {len(names) - _SHOWN_KEYS} more" if len(names) > _SHOWN_KEYS else "")
