"""Weights that an ONNX file keeps in files beside it ("external data"), brought into the private copy."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from abd_app.errors import TeacherRefusedError
from abd_app.intake.onnx_graph import MAX_BYTES, all_tensors, is_external
from abd_app.intake.private_copy import PrivateCopy, copy_beside, rewritten
from abd_app.intake.sniff import model_of_data
from abd_app.teacher import DataFile

if TYPE_CHECKING:
    import onnx
    from onnx.external_data_helper import ExternalDataInfo


def take_in_data(model: onnx.ModelProto, copy: PrivateCopy) -> tuple[PrivateCopy, tuple[DataFile, ...]]:
    """Puts into a model what it keeps in files beside it.

    Only plain files in the folder of the original are read, each once and into the private copy. No link is followed.

    Args:
        model: As ``copy`` has it, not looked at; changed.
        copy: Of the ONNX file.

    Returns:
        The copy with the whole model at its ``path``, and the data files in the order in which the tensors name them;
        ``copy`` itself and ``()`` if there are none.

    Raises:
        TeacherRefusedError: A data file is missing, elsewhere, not a plain file, too large, or does not hold what the
            tensors ask for.
        RunFailedError: The temporary folder has no room.
    """
    from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_tensor

    external = [tensor for tensor in all_tensors(model) if is_external(tensor)]
    if not external:
        return copy, ()
    folder = copy.path.with_name("data")
    folder.mkdir()
    try:
        with warnings.catch_warnings(action="ignore"):  # of keys that onnx does not know and leaves alone
            places = [ExternalDataInfo(tensor) for tensor in external]
            for place in places:
                place.location = place.location.removeprefix("./")
            files = _copied(places, copy, folder)
            _check_lengths(places, files, copy)
            files = tuple(replace(file, doubt=_doubt(file, places, copy)) for file in files)
            for tensor in external:
                load_external_data_for_tensor(tensor, str(folder))
    except ValueError as error:  # an offset or a length that is no number, negative, or behind the end of its file
        raise _does_not_belong(copy, str(error)) from error
    return rewritten(copy, model.SerializeToString()), files


def _copied(places: Sequence[ExternalDataInfo], copy: PrivateCopy, folder: Path) -> tuple[DataFile, ...]:
    files: list[DataFile] = []
    room = MAX_BYTES - copy.size_bytes
    names = list(dict.fromkeys(place.location for place in places))
    if len({name.casefold() for name in names}) < len(names):
        raise _does_not_belong(copy, "It names files that differ only in upper and lower case.")
    for name in names:
        files.append(copy_beside(copy, name, folder, max_bytes=room))
        room -= files[-1].size_bytes
    return tuple(files)


def _check_lengths(places: Sequence[ExternalDataInfo], files: Sequence[DataFile], copy: PrivateCopy) -> None:
    """Bounds what is read by what there is, before anything is read: tensors that share bytes could ask for any amount.

    Raises:
        TeacherRefusedError: The tensors ask for more than the files hold.
    """
    sizes = {file.name: file.size_bytes for file in files}
    rests = [sizes[place.location] - (place.offset or 0) for place in places]
    wanted = sum(rest if place.length is None else place.length for place, rest in zip(places, rests, strict=True))
    if wanted > sum(sizes.values()):
        held = f"{sum(sizes.values()):,} bytes"
        raise _does_not_belong(copy, f"Its tensors ask for {wanted:,} bytes of files that hold {held}.")


def _doubt(file: DataFile, places: Sequence[ExternalDataInfo], copy: PrivateCopy) -> str:
    """Signs that a file of this name was meant for another model of the same architecture, or for a larger one."""
    own = [place for place in places if place.location == file.name]
    end = max(file.size_bytes if one.length is None else (one.offset or 0) + one.length for one in own)
    if end < file.size_bytes:
        return f"The model does not use its last {file.size_bytes - end:,} bytes."
    model = model_of_data(copy.original.with_name(file.name))
    if model is not None and model.name != copy.original.name:
        return f"It is named after {model.name}, which is in the same folder."
    return ""


def _does_not_belong(copy: PrivateCopy, why: str) -> TeacherRefusedError:
    return TeacherRefusedError(
        "The file is an ONNX model whose weights are not in the files that it names.",
        where=str(copy.original),
        why=why,
        remedy="Download or copy it again, together with its data files: they belong together.",
    )
