"""The configuration files beside a teacher file: what they state, and whether they are about it."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abd_app.intake.stated import NOTHING_STATED, StatedFacts, from_dict
from abd_app.networks import catalog
from abd_app.teacher import Finding

_SIDECARS = ("config.json", "preprocessor_config.json")
_SIDECAR_KEYS = frozenset(("architecture", "architectures", "pretrained_cfg", "num_classes", "id2label", "image_mean"))
"""A configuration without any of these is about something else."""
_MAX_SIDECAR_BYTES = 1 << 20

_OWN_CONFIGURATION = frozenset(("model.safetensors", "pytorch_model.bin"))
"""What Hugging Face calls weights; in its folders the configuration beside them is theirs."""
_OWN_IF_AS_MANY_CLASSES = frozenset(("model.onnx", "model_fp16.onnx"))
"""What it calls graphs. Others call theirs so, too."""
_ONNX_FOLDER = "onnx"
"""Where it puts them, below the configuration."""
_HUGGING_FACE_CLASS = re.compile(r"(Model|(Model)?For[A-Z]\w*)$")
"""How the names of its classes end."""
_TOLD = {
    "architecture": "architecture",
    "num_classes": "number of classes",
    "input_size": "image size",
    "mean": "normalisation",
    "class_names": "class names",
    "dataset": "training data",
}


@dataclass(frozen=True)
class Beside:
    """What is made of the facts beside a file.

    Attributes:
        taken: They are about the file.
        proposed: They may be; a question for the user proposes them.
        findings: What was done with them.
    """

    taken: StatedFacts = NOTHING_STATED
    proposed: StatedFacts = NOTHING_STATED
    findings: tuple[Finding, ...] = ()


def read_sidecars(original: Path) -> StatedFacts:
    """The facts in the Hugging Face configuration files beside ``original``; anything unreadable states nothing.

    Of a file in a folder called ``onnx``, those beside that folder count as well.
    """
    facts = StatedFacts()
    folder = original.absolute().parent
    folders = (folder, folder.parent) if folder.name == _ONNX_FOLDER else (folder,)
    for name in _SIDECARS:
        content = next(filter(None, (_read_json(one / name) for one in folders)), None)
        if content is not None and not _SIDECAR_KEYS.isdisjoint(map(str, content)):
            facts = facts.merged(from_dict(content, name))
    return facts


def read_configuration(original: Path) -> Mapping[Any, Any] | None:
    """What ``config.json`` beside ``original`` holds; ``None`` if there is none, or it is unreadable."""
    return _read_json(original.parent / _SIDECARS[0])


def printable(value: object) -> str:
    """What an untrusted file says, fit to be shown."""
    return re.sub(r"[^\x20-\x7e]", "?", str(value))[:80]


def judged(
    beside: StatedFacts, stated: StatedFacts, original: Path, *, names: tuple[str, ...], num_classes: int | None
) -> Beside:
    """Whether the facts beside a file are about it.

    They are if they name its architecture, or if they name none and the file has the name of a Hugging Face folder's
    (of a graph: and they state as many classes). They are not if they name another one, or another number of classes.
    Otherwise nobody knows.

    Args:
        beside: By :func:`read_sidecars`.
        stated: What the file itself says.
        original: Where it is.
        names: All that its architecture is called; empty if it is unknown.
        num_classes: Of its weights, if known.
    """
    told = _listed(beside)
    if not beside.sources.keys() - {"architecture"}:
        return Beside(beside)
    if num_classes is not None and beside.num_classes not in (None, num_classes):
        source = beside.source("num_classes")
        return _ignored(f"{source} speaks of {beside.num_classes} classes, the weights have {num_classes}.", told)
    named = beside.architecture
    if named is not None and names and _is_another(named, names):
        return _ignored(
            f"{beside.source('architecture')} is about {printable(named)}, the weights are of {names[0]}.", told
        )
    own = {_plain(name) for name in (*names, stated.architecture) if name}
    hugging_face = original.name in _OWN_CONFIGURATION or (
        original.name in _OWN_IF_AS_MANY_CLASSES and beside.num_classes is not None
    )
    if hugging_face or (named is not None and _plain(named) in own):
        taken = _listed(beside, but=stated)
        return Beside(beside, findings=(Finding("info", "Facts taken from beside the file", taken),) if taken else ())
    detail = f"It does not name this network: image size and normalisation are proposed, nothing else is used. {told}"
    return Beside(
        proposed=beside, findings=(Finding("info", "What is beside the file may be about another one", detail),)
    )


def _ignored(why: str, told: str) -> Beside:
    return Beside(findings=(Finding("warning", "Facts beside the file were ignored", f"{why} Not used: {told}"),))


def _listed(facts: StatedFacts, *, but: StatedFacts | None = None) -> str:
    """Which facts are stated, by source; without those that ``but`` states, too."""
    by_source: dict[str, list[str]] = defaultdict(list)
    for fact, told in _TOLD.items():
        if fact in facts.sources and (but is None or fact not in but.sources):
            by_source[facts.source(fact)].append(told)
    return "; ".join(f"{', '.join(dict.fromkeys(told))} ({source})" for source, told in by_source.items())


def _is_another(named: str, names: tuple[str, ...]) -> bool:
    """Whether a name is that of another architecture; one that nobody knows, or half of another, may be a nickname."""
    plain = _plain(named)
    if any(plain in own or own in plain for own in map(_plain, names)):
        return False
    known = (*catalog.own_names(), *catalog.torchvision_names(), *catalog.timm_names())
    return bool(_HUGGING_FACE_CLASS.search(named)) or plain in map(_plain, known)


def _plain(name: str) -> str:
    """An architecture's name as all spell it: without library, tag, hyphens and what Hugging Face adds to a class."""
    spelled = _HUGGING_FACE_CLASS.sub("", name).rpartition("/")[2].partition(".")[0].lower()
    return re.sub(r"[^a-z0-9]", "", spelled).replace("wideresnet", "wrn")


def _read_json(path: Path) -> Mapping[Any, Any] | None:
    try:
        if not path.is_file() or path.stat().st_size > _MAX_SIDECAR_BYTES:
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
