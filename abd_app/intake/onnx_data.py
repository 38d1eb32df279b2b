"""Weights that an ONNX file keeps in files beside it ("external data"), brought into the private copy."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from abd_app.errors import TeacherRefusedError
from abd_app.intake.onnx_graph import MAX_BYTES, all_tensors, is_external, parse
from abd_app.intake.private_copy import PrivateCopy, copy_beside, rewritten
from abd_app.teacher import DataFile

if TYPE_CHECKING:
    from onnx.external_data_helper import ExternalDataInfo


def with_data_inside(copy: PrivateCopy) -> tuple[PrivateCopy, tuple[DataFile, ...]]:
    """The ONNX file as one that holds all of its weights, and the files that were read for it.

    Only plain files in the folder of the original are read, each once and into the private copy. No link is followed.

    Returns:
        A copy with the same ``original``, ``sha256`` and ``size_bytes``, whose ``path`` has the weights inside; and the
        data files in the order in which the tensors name them. ``copy`` itself and ``()`` if there are none.

    Raises:
        TeacherRefusedError: The file is damaged; or a data file is missing, elsewhere, not a plain file, too large, or
            does not hold what the tensors ask for.
        RunFailedError: The temporary folder has no room.
    """
    from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_tensor

    model = parse(copy.path, copy.original)
    external = [tensor for tensor in all_tensors(model) if is_external(tensor)]
    if not external:
        return copy, ()
    folder = copy.path.with_name("data")
    folder.mkdir()
    try:
        with warnings.catch_warnings(action="ignore"):  # of keys that onnx does not know and leaves alone
            places = [ExternalDataInfo(tensor) for tensor in external]
            files = _copied(places, copy, folder)
            _check_lengths(places, files, copy)
            for tensor in external:
                load_external_data_for_tensor(tensor, str(folder))
    except ValueError as error:  # an offset or a length that is no number, negative, or behind the end of its file
        raise _does_not_belong(copy, str(error)) from error
    return rewritten(copy, model.SerializeToString()), files


def _copied(places: Sequence[ExternalDataInfo], copy: PrivateCopy, folder: Path) -> tuple[DataFile, ...]:
    files: list[DataFile] = []
    room = MAX_BYTES - copy.size_bytes
    for name in dict.fromkeys(place.location for place in places):
        files.append(copy_beside(copy, name, folder, max_bytes=room))
        room -= files[-1].size_bytes
    return tuple(files)


def _check_lengths(places: Sequence[ExternalDataInfo], files: Sequence[DataFile], copy: PrivateCopy) -> None:
    """Bounds what is read by what there is, before anything is read: tensors that share bytes could ask for any amount.

    Raises:
        TeacherRefusedError: The tensors ask for more than the files hold.
    """
    sizes = {file.name: file.size_bytes for file in files}
    wanted = sum(sizes[place.location] if place.length is None else place.length for place in places)
    if wanted > sum(sizes.values()):
        held = f"{sum(sizes.values()):,} bytes"
        raise _does_not_belong(copy, f"Its tensors ask for {wanted:,} bytes of files that hold {held}.")


def _does_not_belong(copy: PrivateCopy, why: str) -> TeacherRefusedError:
    return TeacherRefusedError(
        "The file is an ONNX model whose weights are not in the files that it names.",
        where=str(copy.original),
        why=why,
        remedy="Download or copy it again, together with its data files: they belong to each other.",
    )
