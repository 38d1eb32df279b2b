"""A trained teacher as the files that teachers come in."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from abd_app.distill.sources.pictures import procedural_patches
from abd_app.errors import RunFailedError
from abd_app.export.files import replacing, saved_whole, write_text
from abd_app.export.onnx_student import MIN_PARITY_IMAGES, export_onnx, save_weights
from abd_app.networks.pixels import PixelNetwork
from abd_app.redteam.card import card_text
from abd_app.run_files import file_sha256
from abd_app.teacher import ImageSpec

_FILES = ("teacher.pth", "teacher.safetensors", "teacher.onnx")
_BESIDE = ("config.json", "teacher.json", "teacher.md")


def write_teacher(
    network: PixelNetwork,
    spec: ImageSpec,
    folder: Path,
    *,
    facts: dict[str, Any],
    class_names: tuple[str, ...],
    card: dict[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Writes ``teacher.pth``, ``.safetensors``, ``.onnx``, ``config.json`` (for the safetensors), ``.json``, ``.md``.

    The first two hold the network behind the normalisation, the ONNX file normalises inside. The notice of ``facts`` is
    in the metadata of each.

    Returns:
        ``card`` with the SHA-256 of the model files.

    Raises:
        RunFailedError: The disk is full, the folder has gone, or the ONNX file does not agree with PyTorch.
    """
    named = {"id2label": {str(index): name for index, name in enumerate(class_names)}} if class_names else {}
    metadata = {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.network.state_dict().items()}
        with replacing(folder / "teacher.pth") as temporary, saved_whole("The teacher"):
            torch.save({**facts, **named, "state_dict": state}, temporary)
        save_weights(network.network, folder / "teacher.safetensors", metadata=metadata)
        write_text(folder / "config.json", json.dumps({**facts, **named}, indent=2) + "\n")
        images = procedural_patches(MIN_PARITY_IMAGES, spec, seed=seed)
        with _other_files_kept():
            export_onnx(network, spec, folder / "teacher.onnx", metadata=metadata, images=images, what="teacher")
        card = {**card, "files": {name: file_sha256(folder / name) for name in _FILES}}
        write_text(folder / "teacher.json", json.dumps(card, indent=2, ensure_ascii=False) + "\n")
        write_text(folder / "teacher.md", card_text(card))
    return card


class _NoOnnxError(RunFailedError):
    """The other files are complete and stay."""


@contextlib.contextmanager
def _other_files_kept() -> Iterator[None]:
    """Says that the other two files are written already."""
    try:
        yield
    except RunFailedError as error:
        raise _NoOnnxError(
            "The teacher could not be written as ONNX.",
            where=error.where,
            why=f"{error.what} {error.why}".strip(),
            remedy="teacher.pth and teacher.safetensors are complete; another --arch may export.",
        ) from error


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turns what a full disk raises into a :class:`RunFailedError` that names the folder.

    A poisoned model without its card could be taken for a good one, so what is not written whole is taken away again.
    """
    try:
        yield
    except _NoOnnxError:
        raise
    except BaseException as error:  # being cancelled is one
        _clear(folder)
        if isinstance(error, OSError):
            raise RunFailedError(
                "The teacher cannot be written.",
                where=str(folder),
                why=error.strerror or str(error),
                remedy="Free some space or give another folder with --out.",
            ) from error
        raise


def _clear(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for name in (*_FILES, *_BESIDE):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
