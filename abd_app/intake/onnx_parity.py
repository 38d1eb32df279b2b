"""Proof that a converted network answers as the ONNX file does, and that its gradient is the file's gradient."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from abd_app.errors import TeacherRefusedError, first_line

if TYPE_CHECKING:
    from torch import nn

    from abd_app.intake.onnx_graph import GraphFacts

Array = npt.NDArray[np.float32]

PARITY_TOLERANCE = 1e-3
"""Largest difference, relative to the largest answer (at least 1)."""
_BATCH_SIZES = (1, 2, 5)
MOST_IMAGES = max(_BATCH_SIZES)
"""So many are answered at a time, unless the file takes batches of more."""
_DIRECTIONS = 6
_STEP = 2e-3
_GRADIENT_TOLERANCE = 0.1
"""Relative; a step in pixel values crosses kinks of the network, where the difference quotient is no derivative."""
_ROUNDING = 1e-6
"""Relative error of one answer in fp32, which the difference quotient divides by the step."""
_SILENT = 4
"""Level of onnxruntime's log: what it has to say is in its exceptions."""
_CANDIDATE_SIZES = ((32, 32), (224, 224), (64, 64), (28, 28), (16, 16))


class Reference:
    """The file itself, run by onnxruntime on the CPU.

    Args:
        path: The ONNX file.
        original: Where the user keeps it, for messages.
        facts: Its input.

    Raises:
        TeacherRefusedError: onnxruntime does not accept it.
    """

    def __init__(self, path: Path, original: Path, facts: GraphFacts) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = _SILENT
        self._quietly = onnxruntime.RunOptions()
        self._quietly.log_severity_level = _SILENT
        options.intra_op_num_threads = torch.get_num_threads()
        self._facts = facts
        self._original = original
        try:
            # From the path: a session keeps the bytes that it is given.
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base class but Exception.
            raise self._refused("does not run", error) from error

    def __call__(self, images: Array) -> Array:
        """Answers for any number of images, batch by batch where the file has a fixed batch size."""
        size = self._facts.batch or len(images)
        padding = -len(images) % size
        padded = np.concatenate([images, np.repeat(images[-1:], padding, axis=0)]) if padding else images
        try:
            parts = [
                self._session.run([self._facts.output_name], {self._facts.input_name: group}, self._quietly)[0]
                for group in np.split(padded, range(size, len(padded), size))
            ]
        except Exception as error:
            raise self._refused("fails on images", error) from error
        return np.concatenate(parts)[: len(images)]

    def _refused(self, what: str, error: Exception) -> TeacherRefusedError:
        return TeacherRefusedError(
            f"The ONNX model {what}.",
            where=str(self._original),
            why=first_line(error)[:300],
            remedy="Export the model again; it must run in onnxruntime.",
        )


def image_size(reference: Reference, facts: GraphFacts) -> tuple[int, int]:
    """A size at which the graph runs: its own, or the first common one that it accepts."""
    if facts.size is not None:
        return facts.size
    for size in _CANDIDATE_SIZES:
        try:
            reference(np.zeros((1, facts.channels, *size), np.float32))
        except TeacherRefusedError:
            continue
        return size
    return _CANDIDATE_SIZES[0]


def mixes_images(reference: Reference, shape: tuple[int, int, int]) -> bool:
    """Whether the answer to an image depends on the others that are asked about with it.

    Args:
        reference: The file.
        shape: (C, H, W) of the images.
    """
    images = np.random.default_rng(2).random((_BATCH_SIZES[-1], *shape), np.float32)
    together, alone = reference(images)[:1], reference(images[:1])
    difference = float(np.abs(together - alone).max()) if together.shape == alone.shape else float("inf")
    return not difference <= PARITY_TOLERANCE * max(1.0, float(np.abs(alone).max()))


def check_parity(network: nn.Module, reference: Reference, shape: tuple[int, int, int], original: Path) -> Array:
    """Compares answers on random images at several batch sizes, and gradients with finite differences of the file.

    Args:
        network: The converted graph.
        reference: The file.
        shape: (C, H, W) of the images.
        original: Where the file is, for messages.

    Returns:
        The file's answers on all random images, ``(N, num_classes)``.

    Raises:
        TeacherRefusedError: They differ by more than ``PARITY_TOLERANCE``, or the gradients disagree.
    """
    draw = np.random.default_rng(0)
    answers = []
    for count in _BATCH_SIZES:
        images = draw.random((count, *shape), np.float32) * 2 - 0.5
        answers.append(reference(images))
        _compare(network, images, answers[-1], original)
    _compare_gradients(network, reference, draw.random((2, *shape), np.float32), original)
    return np.concatenate(answers)


def _compare(network: nn.Module, images: Array, expected: Array, original: Path) -> None:
    try:
        with torch.no_grad():
            actual = network(torch.from_numpy(images)).numpy()
    except Exception as error:  # Each converted operator fails in its own way.
        raise _differs(
            original, f"It fails on {len(images)} images: {type(error).__name__}: {str(error)[:200]}"
        ) from error
    if actual.shape != expected.shape or expected.ndim != 2:
        raise _differs(original, f"The outputs have the shapes {actual.shape} and {expected.shape}.")
    if not np.isfinite(expected).all():
        raise _differs(original, "The file's own outputs contain NaN or infinity.")
    tolerance = PARITY_TOLERANCE * max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(actual - expected).max())
    if not difference <= tolerance:
        raise _differs(
            original, f"The outputs differ by {difference:.2g} for {len(images)} images; allowed is {tolerance:.2g}."
        )
    ranked = np.sort(expected, axis=1)
    clear = ranked[:, -1] - ranked[:, -2] > 2 * difference
    if (actual.argmax(1) != expected.argmax(1))[clear].any():
        raise _differs(original, "The predicted classes differ.")


def _compare_gradients(network: nn.Module, reference: Reference, images: Array, original: Path) -> None:
    """Central differences along random directions against the gradient of a random mix of the answers."""
    draw = np.random.default_rng(1)
    pixels = torch.from_numpy(images).requires_grad_()
    answer = network(pixels)
    mix = draw.standard_normal(tuple(answer.shape)).astype(np.float32)
    if not answer.requires_grad:
        raise _differs(original, "No gradient reaches the image.")
    (gradient,) = torch.autograd.grad((answer * torch.from_numpy(mix)).sum(), pixels)
    slope = gradient.numpy().astype(np.float64)
    steepest = slope / max(float(np.abs(slope).max()), 1e-30)
    directions = [steepest] + [draw.choice([-1.0, 1.0], images.shape) for _ in range(_DIRECTIONS - 1)]
    predicted = np.array([(slope * direction).sum() for direction in directions])
    measured = np.array([_difference_quotient(reference, images, direction, mix) for direction in directions])
    error = np.linalg.norm(predicted - measured)
    scale = float(np.linalg.norm(measured))
    rounding = _ROUNDING * float(answer.detach().abs().max()) * np.sqrt(mix.size * len(directions)) / _STEP
    if not error <= _GRADIENT_TOLERANCE * scale + rounding:
        raise _differs(original, f"The gradients differ by {100 * error / scale:.0f} %.")


def _difference_quotient(reference: Reference, images: Array, direction: npt.NDArray[np.float64], mix: Array) -> float:
    offset = (_STEP * direction).astype(np.float32)
    ahead, behind = reference(images + offset), reference(images - offset)
    return float(((ahead.astype(np.float64) - behind) * mix).sum() / (2 * _STEP))


def _differs(original: Path, why: str) -> TeacherRefusedError:
    return TeacherRefusedError(
        "The ONNX model could not be converted faithfully.",
        where=str(original),
        why=why,
        remedy="Open the model's state_dict instead, or export the ONNX file again with a dynamic batch.",
    )
