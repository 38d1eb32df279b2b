"""The only place that decodes a weights file: ``torch.load`` in weights-only mode, and safetensors."""

from __future__ import annotations

import errno
import re
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from abd_app.errors import AuditError, RunFailedError, TeacherRefusedError, first_line
from abd_app.intake.dictionaries import dictionaries
from abd_app.intake.memory_limit import is_for_lack_of_memory, no_room
from abd_app.intake.stand_ins import STAND_INS

_SHOWN_GLOBALS = 5
_SMALL_ARCHIVE_BYTES = 64 * 1024**2
_TIMES_ITS_SIZE = 4
"""Non-zero weights barely compress."""


def load_weights_only(path: str | Path, *, ignore_extras: bool = False) -> object:
    """What a PyTorch file holds, on the CPU; no code of the file runs.

    Args:
        path: The file.
        ignore_extras: Accept what training scripts put beside the weights, with stand-ins in its place.

    Raises:
        TeacherRefusedError: The file is damaged, or it names something other than tensors and plain values.
        RunFailedError: The memory does not hold it, or the drive does not give it.
    """
    _check_archive(Path(path))
    stand_ins: list[Any] = [(stand_in, name) for name, stand_in in STAND_INS.items()] if ignore_extras else []
    try:
        with safe_globals(stand_ins), warnings.catch_warnings(action="ignore"):  # of other pickle protocols
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # Whatever the decoder trips over but a lack of memory, the file is at fault.
        raise _load_failure(Path(path), error) from error
    _drop_attributes(content)
    return content


def _drop_attributes(content: object) -> None:
    """Clears the attributes of all dictionaries in ``content``: a file may call one ``items``, and hide the method."""
    for one in dictionaries(content):
        if isinstance(one, OrderedDict):
            vars(one).clear()


def _check_archive(path: Path) -> None:
    """Reads every byte against its checksum, which ``torch.load`` does not.

    PyTorch stores its files uncompressed. An archive of more than its own size is left to the decoder (it may be made
    to keep a reader busy), unless it is of far more than weights can be compressed by.

    Raises:
        TeacherRefusedError: One is wrong, or the archive unpacks to far more than its size.
    """
    if not zipfile.is_zipfile(path):
        return
    packed = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            damaged = archive.testzip() if unpacked <= packed else None
    except Exception:  # What the reader of archives does not understand, the decoder of weights judges.
        return
    if unpacked > _SMALL_ARCHIVE_BYTES + _TIMES_ITS_SIZE * packed:
        raise TeacherRefusedError(
            "The file is an archive that unpacks to far more than its size.",
            where=str(path),
            why=f"Its {packed:,} bytes would become {unpacked:,}.",
            remedy="Save the weights with torch.save, which does not compress.",
        )
    if damaged is not None:
        raise TeacherRefusedError(
            "The file is incomplete or damaged.",
            where=str(path),
            why=f"The checksum of {ascii(damaged)[1:-1]} is wrong.",
            remedy="Download or copy it again and compare its size with the source. If it was saved without checksums "
            "(torch.serialization.set_crc32_options(False)), save it with them.",
        )


def load_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors of a safetensors file and its metadata.

    Raises:
        TeacherRefusedError: The file is damaged.
        RunFailedError: The memory does not hold it.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as archive:
            names = archive.keys()  # it is no mapping
            return {name: archive.get_tensor(name) for name in names}, dict(archive.metadata() or {})
    except Exception as error:  # The reader has no base class for what it raises.
        if is_for_lack_of_memory(error):
            raise no_room(path, error) from error
        raise TeacherRefusedError(
            "The safetensors file is incomplete or damaged.",
            where=str(path),
            why=_first_line(error),
            remedy="Download or copy it again and compare its size with the source.",
        ) from error


def _load_failure(path: Path, error: Exception) -> AuditError:
    names = _named_globals(path, error)
    if names:
        shown = ", ".join(names[:_SHOWN_GLOBALS]) + (" and more" if len(names) > _SHOWN_GLOBALS else "")
        return TeacherRefusedError(
            "The file holds more than weights: opening it would run code that it names.",
            where=str(path),
            why=f"It names {shown}. None of it was run.",
            remedy="If you trust its source, load it there and save only the weights: "
            "torch.save(model.state_dict(), 'weights.pth').",
        )
    if is_for_lack_of_memory(error):
        return no_room(path, error)
    if isinstance(error, OSError) and error.errno != errno.EINVAL:  # which a damaged file's own numbers may cause
        return RunFailedError(
            "The file cannot be read now.",
            where=str(path),
            why=error.strerror or first_line(error),
            remedy="Check the drive that it is on, and try again.",
        )
    if "Unsupported operand" in str(error):
        return TeacherRefusedError(
            "The file was written in a form of pickle that cannot be read safely.",
            where=str(path),
            why="torch.save(..., pickle_protocol=2), which is its default, writes one that can.",
            remedy="Save it again: torch.save(model.state_dict(), 'weights.pth'); or as safetensors.",
        )
    return TeacherRefusedError(
        "The file is incomplete or damaged.",
        where=str(path),
        why=_first_line(error),
        remedy="Download or copy it again and compare its size with the source.",
    )


def _named_globals(path: Path, error: Exception) -> list[str]:
    """The globals a pickle asks for and may not have, in reading order; empty if that was not the trouble."""
    if type(error).__name__ != "UnpicklingError":
        return []
    try:
        listed = get_unsafe_globals_in_checkpoint(path)
    except Exception:  # Only zip files can be listed; the decoder's message names the first offender of the others.
        listed = []
    names = [name for name in listed if name not in STAND_INS]
    return sorted(names) or re.findall(r"GLOBAL ([\w.]+)", str(error))[:1]


def _first_line(error: Exception) -> str:
    told = re.search(r"WeightsUnpickler error: (.*)", str(error))  # what comes before it advises to load it unsafely
    text = [told.group(1)] if told else str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
