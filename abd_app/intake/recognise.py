"""Which architecture a state_dict belongs to: own families by structure, then torchvision and timm by every tensor."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from abd_app.errors import UsageError
from abd_app.intake.heads import Head, replaced_head
from abd_app.intake.own_images import agreement
from abd_app.intake.stated import NOTHING_STATED, StatedFacts
from abd_app.networks.fingerprints import Fit, Shapes, exact_candidates, fit, nearest, shapes_of
from abd_app.networks.residual import BOTTLENECK_STAGES, RESNET_STAGES
from abd_app.networks.vgg import VGG_STAGES

Tensors = dict[str, torch.Tensor]

_ALIASES = (("downsample.", "shortcut."), ("fc.", "linear."))
"""Other spellings in the residual families: (theirs, ours). The arithmetic is the same."""
_TRAINING_ONLY = re.compile(r"(AuxLogits|aux\d?|aux_classifier)\.")
"""Auxiliary classifiers, which only training uses."""
_RESNET_CHILDREN = {"0": "conv1", "1": "bn1", **{str(stage + 3): f"layer{stage}" for stage in (1, 2, 3, 4)}}
"""Layers of torchvision's ResNets by their index, as ``nn.Sequential(*network.children())`` names them."""
_RESNET_INDEX = re.compile(r"^([014567])(?=\.)")
_MAX_BUILT = 6
_MOST_OF_A_HEAD = 24
"""Tensors beside a body that has a name of its own."""
_SHOWN_NEAREST = 3
_WRN_WIDTH = 16
"""Channels of the first block of a WRN of width 1."""


@dataclass(frozen=True)
class Recognised:
    """An architecture that fits every tensor.

    Attributes:
        tensors: The weights under the architecture's names.
        also_fit: Other architectures that the tensors fit; they may differ in activations, strides or padding.
        left_out: Tensors that only training uses.
        renamed: The file uses other names for the same layers, or for some of them.
        hinted: The file or its configuration names this architecture.
        head: What stands in the place of the architecture's last layers; ``None``: its own.
    """

    fit: Fit
    tensors: Tensors
    also_fit: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    renamed: bool = False
    hinted: bool = False
    head: Head | None = None


def recognise(tensors: Tensors, said: StatedFacts = NOTHING_STATED) -> Recognised | None:
    """The architecture that ``tensors`` fit exactly, but perhaps for names; ``None`` if none does.

    Args:
        tensors: A plain state_dict.
        said: What is known about it. Between several that fit, the architecture's name as the file or its
            configuration spells it decides, then its images: of which size they are, and how they are normalised.
    """
    found = _exact(tensors, said)
    if found is not None:
        return found
    body, left_out = without_training_parts(tensors)
    exact = functools.partial(_exact, said=said)
    for named in (body, *_unwrapped_bodies(body)):
        near = [found.architecture for found in nearest_fits(named)]
        found = exact(named) or _with_other_head(named, near, exact)
        if found is not None:
            return dataclasses.replace(found, left_out=left_out, renamed=True)
    return None


def _exact(tensors: Tensors, said: StatedFacts) -> Recognised | None:
    own = _own_family(shapes_of(tensors))
    if own is not None:
        fitted = _try(own, tensors)
        if fitted is not None:
            return fitted
        fitted = _try(own, _renamed(tensors))
        if fitted is not None:
            return dataclasses.replace(fitted, renamed=True)
    body, left_out = without_training_parts(tensors)
    shapes = shapes_of(body)
    plain_hint = (said.architecture or "").partition(".")[0]
    names = _likeliest_first(exact_candidates(shapes), plain_hint, said)
    for index, name in enumerate(names[:_MAX_BUILT]):
        fitted = _try(name, body)
        if fitted is not None:
            others = tuple(other for other in (*names[:index], *names[index + 1 :]) if _plain(other) != _plain(name))
            return Recognised(fitted.fit, body, others, left_out, hinted=_plain(name) == plain_hint)
    return None


def _likeliest_first(names: tuple[str, ...], hint: str, said: StatedFacts) -> list[str]:
    if len({_plain(name) for name in names}) < 2:
        return list(names)
    return sorted(names, key=lambda name: (_plain(name) != hint, -agreement(name, said)))


def fit_named(name: str, tensors: Tensors) -> Recognised:
    """The weights in the architecture that the user named.

    Raises:
        UsageError: There is no such architecture, or the weights do not fit it; the message says what differs.
    """
    body, left_out = without_training_parts(tensors)
    attempts = [
        Recognised(fit(name, shapes_of(tensors)), tensors),
        Recognised(fit(name, shapes_of(body)), body, left_out=left_out),
    ]
    if "/" not in name:
        renamed = _renamed(tensors)
        attempts.append(Recognised(fit(name, shapes_of(renamed)), renamed, renamed=True))
    exact = functools.partial(_try, name)
    for named in (body, *_unwrapped_bodies(body)):
        attempts.append(Recognised(fit(name, shapes_of(named)), named, left_out=left_out, renamed=True))
        if not any(attempt.fit.exact for attempt in attempts):
            other = _with_other_head(named, [name], exact)
            attempts += [dataclasses.replace(other, left_out=left_out, renamed=True)] if other else []
    best = min(attempts, key=lambda attempt: attempt.fit.differences)
    if best.fit.exact:
        return best
    raise UsageError(
        f"The weights do not fit {name}.",
        where="--arch",
        why=best.fit.describe(),
        remedy="Give the architecture that the teacher was trained with, or none to let the app find it; if it is none "
        "of the app's, export the model as ONNX and open that.",
    )


def nearest_fits(tensors: Tensors) -> tuple[Fit, ...]:
    """The architectures that come closest, best first, with what differs."""
    shapes = shapes_of(tensors)
    names = [name for name, _share in nearest(shapes)]
    own = _own_family(shapes)
    fits = []
    for name in dict.fromkeys(([own] if own else []) + names):
        try:
            fits.append(fit(name, shapes))
        except UsageError:  # The index knows a name that the installed library has dropped.
            continue
    return tuple(sorted(fits, key=lambda found: found.differences)[:_SHOWN_NEAREST])


def without_training_parts(tensors: Tensors) -> tuple[Tensors, tuple[str, ...]]:
    """The tensors without auxiliary classifiers, and the names of those."""
    left_out = tuple(name for name in tensors if _TRAINING_ONLY.match(name))
    return {name: value for name, value in tensors.items() if name not in left_out}, left_out


def _with_other_head(
    tensors: Tensors, architectures: Iterable[str], exact: Callable[[Tensors], Recognised | None]
) -> Recognised | None:
    """The first of the architectures that ``tensors`` fit but for its last layers, in whose place others stand."""
    for architecture in architectures:
        for named in (tensors,) if "/" in architecture else (tensors, _renamed(tensors)):
            found = replaced_head(named, architecture)
            if found is None:
                continue
            plain, head = found
            fitted = exact(plain)
            own = {name for name, value in plain.items() if value is not named.get(name)}
            if fitted is not None and own <= fitted.tensors.keys():
                body = {name: value for name, value in fitted.tensors.items() if name not in own}
                return dataclasses.replace(fitted, tensors=body | head.tensors, head=head)
    return None


def _unwrapped_bodies(tensors: Tensors) -> list[Tensors]:
    """The tensors without the name that all but the last layers' share, and a ResNet's with names for its indices."""
    firsts = Counter(name.partition(".")[0] for name in tensors)
    body = firsts.most_common(1)[0][0] if firsts else ""
    if not 0 < len(tensors) - firsts[body] <= _MOST_OF_A_HEAD:
        return []
    unwrapped = {name.removeprefix(f"{body}."): value for name, value in tensors.items()}
    named = {_RESNET_INDEX.sub(lambda match: _RESNET_CHILDREN[match[1]], name): unwrapped[name] for name in unwrapped}
    bodies = [unwrapped] if named.keys() == unwrapped.keys() else [unwrapped, named]
    return [one for one in bodies if len(one) == len(tensors)]  # two tensors of one name are two networks


def _plain(name: str) -> str:
    """Without its library: an architecture that both libraries have under one name computes the same in both."""
    return name.partition("/")[2]


def _try(name: str, tensors: Tensors) -> Recognised | None:
    try:
        found = fit(name, shapes_of(tensors))
    except UsageError:
        return None
    return Recognised(found, tensors) if found.exact else None


def _renamed(tensors: Tensors) -> Tensors:
    renamed = {}
    for name, value in tensors.items():
        for theirs, ours in _ALIASES:
            name = re.sub(rf"(^|\.){re.escape(theirs)}", rf"\g<1>{ours}", name)
        renamed[name] = value
    return renamed


def _own_family(shapes: Shapes) -> str | None:
    """The name that depth and width of the layers spell in one of the app's own families; it may still not fit."""
    first = shapes.get("block1.layer.0.conv1.weight", ())
    if first and first[0] >= _WRN_WIDTH:
        blocks = _count(shapes, r"block1\.layer\.(\d+)\.conv1\.weight")
        return f"wrn-{6 * blocks + 4}-{first[0] // _WRN_WIDTH}"
    if "features.0.weight" in shapes and "features.1.running_mean" in shapes:
        return _vgg(shapes)
    stem = shapes.get("conv1.weight", ())
    if "layer1.0.conv1.weight" not in shapes or len(stem) != 4 or stem[-1] != 3:
        return None
    stages = tuple(_count(shapes, rf"layer{stage}\.(\d+)\.conv1\.weight") for stage in (1, 2, 3, 4))
    squeezes = "layer1.0.conv3.weight" in shapes
    depths = BOTTLENECK_STAGES if squeezes else RESNET_STAGES
    depth = next((depth for depth, blocks in depths.items() if blocks == stages), None)
    if squeezes:
        return None if depth is None else f"resnet{depth}-cifar-bottleneck"
    if depth is not None:
        return f"resnet{depth}-cifar" if "bn1.weight" in shapes else f"preact-resnet{depth}"
    if stages[3] == 0 and len(set(stages[:3])) == 1:
        projection = any(re.match(r"layer2\.0\.(shortcut|downsample)\.0\.weight", key) for key in shapes)
        return f"resnet{6 * stages[0] + 2}-cifar" + ("-projection" if projection else "")
    return None


def _vgg(shapes: Shapes) -> str | None:
    convolutions = _count(shapes, r"features\.(\d+)\.running_mean")
    depth = next((depth for depth, stages in VGG_STAGES.items() if sum(stages) == convolutions), None)
    if depth is None:
        return None
    first = shapes.get("classifier.0.weight", ())  # of one dimension if it normalises
    return f"vgg{depth}-bn-cifar" + (f"-h{first[0]}" if len(first) == 2 and first[0] and first[1] == 512 else "")


def _count(shapes: Shapes, pattern: str) -> int:
    return sum(re.fullmatch(pattern, key) is not None for key in shapes)
