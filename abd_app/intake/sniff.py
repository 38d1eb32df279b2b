"""What a file is, by its content alone. Nothing in it is decoded further than its outermost frame."""

from __future__ import annotations

import os
import zipfile
from enum import Enum
from pathlib import Path

from abd_app.errors import TeacherRefusedError

_HEAD_BYTES = 4096
_EXPORT_REMEDY = (
    "Export the model's state_dict (torch.save(model.state_dict(), ...)), safetensors or ONNX, and open that."
)
_LEGACY_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_ONNX_FIELDS = frozenset((1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26))
_ONNX_GRAPH = 7
_ONNX_DATA_ENDINGS = (".data", "_data")
"""What exporters append to the name of an ONNX file for the file of its weights."""
_MAX_SAFETENSORS_HEADER_BYTES = 100_000_000

_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git-LFS pointer, not the model itself", "Fetch the real file with `git lfs pull`."),
    (
        b"7z\xbc\xaf'\x1c",
        "a 7z archive",
        "Unpack it first. A model packed as 7z evades scanners: be careful with its source.",
    ),
    (b"Rar!", "a RAR archive", "Unpack it and open the model file in it."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it and open the model file in it."),
    (b"\xfd7zXZ", "an xz archive", "Unpack it and open the model file in it."),
    (b"BZh", "a bzip2 archive", "Unpack it and open the model file in it."),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "Unpack it and open the model file in it."),
    (b"\x89HDF", "an HDF5 file, probably a Keras model", "Convert it to ONNX and open that."),
    (b"\x93NUMPY", "a NumPy array", "Open the model; arrays of images go to --data."),
    (b"GGUF", "a GGUF language model", "Open an image classifier."),
    (b"\x7fELF", "a program", "Open a model file."),
    (b"MZ", "a program", "Open a model file."),
    (b"%PDF", "a PDF document", "Open a model file."),
    (b"\x89PNG", "a picture", "Open a model file."),
    (b"\xff\xd8\xff", "a picture", "Open a model file."),
)


class FileKind(Enum):
    """A kind of file the intake can look into; the value is what the card shows."""

    TORCH_ZIP = "PyTorch"
    TORCH_LEGACY = "PyTorch (before 1.6)"
    SAFETENSORS = "safetensors"
    ONNX = "ONNX"


def sniff(path: Path, original: Path) -> FileKind:
    """The kind of the file at ``path``; ``original`` only appears in messages.

    Raises:
        TeacherRefusedError: It is none of the kinds the app opens; the message names what it is.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if not head:
        raise _refusal(original, "empty", "Download or copy it again.")
    for magic, name, remedy in _FOREIGN:
        if head.startswith(magic):
            raise _refusal(original, name, remedy)
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise _refusal(
            original, "a web page, probably an error message", "Download the model again, with your login if needed."
        )
    if head.startswith(b"PK\x03\x04"):
        return _sniff_zip(path, original)
    if _is_safetensors(head, size):
        return FileKind.SAFETENSORS
    if head.startswith(_LEGACY_TORCH):
        return FileKind.TORCH_LEGACY
    if head[257:262] == b"ustar":
        raise _refusal(
            original,
            "a tar archive, or a PyTorch file older than 0.2",
            "Unpack it, or save it again with a current PyTorch.",
        )
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        raise _refusal(
            original, "a pickle that PyTorch did not write", _EXPORT_REMEDY, "Opening a pickle can run any program."
        )
    if head[4:8] == b"TFL3":
        raise _refusal(original, "a TensorFlow Lite model", "Convert it to ONNX and open that.")
    return _sniff_protobuf(path, original, size, head)


def model_of_data(file: Path) -> Path | None:
    """The model beside ``file`` after which ``file`` is named as exporters name its data; ``None`` if there is none."""
    names = [file.name.removesuffix(ending) for ending in _ONNX_DATA_ENDINGS]
    models = [file.with_name(name) for name in names if name not in ("", file.name)]
    return next((model for model in models if model.is_file()), None)


def _sniff_zip(path: Path, original: Path) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, UnicodeDecodeError, ValueError) as error:
        raise TeacherRefusedError(
            "The file is incomplete or damaged.",
            where=str(original),
            why=f"It begins as a PyTorch or zip file, but its table of contents is unreadable ({error}).",
            remedy="Download or copy it again and compare its size with the source.",
        ) from error
    leaves = {name.partition("/")[2] for name in names} | set(names)
    if "constants.pkl" in leaves or any("/code/" in f"/{name}" for name in names):
        why = "TorchScript is a program, not only weights; running it would run code of the file."
        raise _refusal(original, "a TorchScript program", _EXPORT_REMEDY, why)
    if leaves & {"archive_format", "serialized_exported_program.json"} or "models/model.json" in leaves:
        why = "A .pt2 file is a program, not only weights."
        raise _refusal(original, "a torch.export program (.pt2)", _EXPORT_REMEDY, why)
    if "data.pkl" in leaves:
        return FileKind.TORCH_ZIP
    if any(name.endswith(".npy") for name in names):
        raise _refusal(original, "a NumPy archive (.npz)", "Open the model; labelled images go to --data.")
    if "model.weights.h5" in leaves:
        raise _refusal(original, "a Keras model", "Convert it to ONNX and open that.")
    raise _refusal(original, "a zip archive without a model in it", "Unpack it and open the model file in it.")


def _is_safetensors(head: bytes, size: int) -> bool:
    if len(head) < 10 or head[8:9] != b"{":
        return False
    header_bytes = int.from_bytes(head[:8], "little")
    # A header that claims more than the file holds is a damaged safetensors file: its reader says so.
    return header_bytes <= _MAX_SAFETENSORS_HEADER_BYTES or head[8:10] == b'{"'


def _sniff_protobuf(path: Path, original: Path, size: int, head: bytes) -> FileKind:
    fields, complete = _protobuf_fields(path, size)
    if _ONNX_GRAPH in fields and fields <= _ONNX_FIELDS:
        if complete:
            return FileKind.ONNX
        raise _refusal(original, "an incomplete ONNX file", "Download or copy it again.")
    if head.lstrip()[:1] in (b"{", b"["):
        raise _refusal(original, "a text file, probably JSON", "Open the model file beside it.")
    model = model_of_data(original)
    if model is not None:
        raise _refusal(original, "not a model itself, but probably weights of one", f"Open {model.name} beside it.")
    if ".onnx" in original.name and original.name.endswith(_ONNX_DATA_ENDINGS):
        remedy = "Get the model itself, a much smaller file, too: put it beside this one and open it."
        raise _refusal(original, "not a model itself, but probably weights of an ONNX model", remedy)
    raise _refusal(
        original,
        "of a kind the app does not know",
        "Open a .pt, .pth, .safetensors or .onnx model file.",
        "Its content is not that of a PyTorch, safetensors or ONNX file, whatever its name says.",
    )


def _protobuf_fields(path: Path, size: int) -> tuple[set[int], bool]:
    """The field numbers of the outermost protobuf message, and whether it ends where the file ends."""
    fields: set[int] = set()
    position = 0
    with path.open("rb") as stream:
        while position < size and len(fields) <= len(_ONNX_FIELDS):
            stream.seek(position)
            chunk = stream.read(20)
            tag, used = _varint(chunk)
            value, more = _varint(chunk[used:])
            wire = tag & 7
            if not used or wire not in (0, 2) or not more or tag >> 3 not in _ONNX_FIELDS:
                return fields, False
            fields.add(tag >> 3)
            position += used + more + (value if wire == 2 else 0)
    return fields, position == size


def _varint(data: bytes) -> tuple[int, int]:
    """A protobuf varint and the bytes it takes; 0 bytes if it is none."""
    value = 0
    for index, byte in enumerate(data[:10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, index + 1
    return 0, 0


def _refusal(original: Path, what: str, remedy: str, why: str = "") -> TeacherRefusedError:
    return TeacherRefusedError(f"The file is {what}.", where=os.fspath(original), why=why, remedy=remedy)
