"""Proof that a converted network answers as the ONNX file does, and that its gradient is the file's gradient."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from abd_app.errors import TeacherRefusedError, first_line
from abd_app.intake.memory_limit import is_for_lack_of_memory
from abd_app.intake.onnx_graph import ONE_OUTPUT

if TYPE_CHECKING:
    from torch import nn

    from abd_app.intake.onnx_graph import GraphFacts

Array = npt.NDArray[np.float32]

PARITY_TOLERANCE = 1e-3
"""Largest difference, relative to the largest answer (at least 1)."""
_PRECISION_TOLERANCE = 0.05
"""The same, for what a file's own arithmetic, with three digits, makes of numbers that are computed with seven."""
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
_INTACT = "Ask its author for an intact file: some of its weights are NaN, infinite or too large."
_NO_GRADIENT = "Export it without steps that have no gradient, such as rounding and picking the largest."
_CANDIDATE_SIZES = ((32, 32), (224, 224), (64, 64), (28, 28), (16, 16))


class Reference:
    """The file itself, run by onnxruntime on the CPU.

    Args:
        path: The ONNX file.
        original: Where the user keeps it, for messages.
        facts: What it takes.
        channels_last: Whether the file itself takes (N, H, W, C).
        input_type: Of the pixels that the file takes, by NumPy's name.

    Raises:
        TeacherRefusedError: onnxruntime does not accept it.
    """

    def __init__(
        self,
        path: Path,
        original: Path,
        facts: GraphFacts,
        *,
        channels_last: bool = False,
        input_type: str = "float32",
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = _SILENT
        self._quietly = onnxruntime.RunOptions()
        self._quietly.log_severity_level = _SILENT
        options.intra_op_num_threads = torch.get_num_threads()
        self._facts, self._original, self._channels_last = facts, original, channels_last
        self._input_type = input_type
        self._axes = (0, 2, 3, 1) if channels_last else (0, 1, 2, 3)
        try:
            # From the path: a session keeps the bytes that it is given.
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base class but Exception.
            raise self._refused("does not run", error) from error

    def __call__(self, images: Array) -> Array:
        """Answers for any number of images (N, C, H, W), batch by batch where the file has a fixed batch size."""
        size = self._facts.batch or len(images)
        padding = -len(images) % size
        padded = np.concatenate([images, np.repeat(images[-1:], padding, axis=0)]) if padding else images
        try:
            pixels = np.ascontiguousarray(padded.transpose(self._axes), self._input_type)
            parts = [
                self._session.run(None, {self._facts.input_name: group}, self._quietly)[0]
                for group in np.split(pixels, range(size, len(pixels), size))
            ]
            answers = np.concatenate(parts)[: len(images)].astype(np.float32)
        except Exception as error:
            raise self._refused("fails on images", error) from error
        return answers.reshape(answers.shape[:2]) if answers.shape[2:] == (1, 1) else answers

    @property
    def size_remedy(self) -> str | None:
        """What helps where it may be the size of the images that a network cannot take."""
        return "Give the size of the images that it was made for: --size HxW." if self._facts.size is None else None

    def differs(self, why: str, remedy: str | None = None) -> TeacherRefusedError:
        """The refusal of a network that does not answer as the file does.

        Args:
            why: What showed it.
            remedy: What helps, where that does not follow from what the file takes.
        """
        fixed = self._facts.batch is not None
        way_out = "with a dynamic batch" if fixed else "from another exporter or for another opset"
        return TeacherRefusedError(
            "The ONNX model could not be converted faithfully.",
            where=str(self._original),
            why=why,
            remedy=remedy or f"Open the model's state_dict instead, or export the ONNX file again {way_out}.",
        )

    def difference_from(self, path: Path, input_type: str, shape: tuple[int, int, int]) -> float | None:
        """Compares this file, which was put into float32, with what it was made from.

        Args:
            path: The file that computes in something else.
            input_type: Of the pixels that it takes, by NumPy's name; of integers, they are in [0, 255].
            shape: (C, H, W) of the images.

        Returns:
            The largest difference of their answers to random images, relative to the largest answer (at least 1);
            ``None`` if onnxruntime does not run the other one here.

        Raises:
            TeacherRefusedError: It is more than rounding explains.
        """
        images = np.random.default_rng(3).random((MOST_IMAGES, *shape), np.float32)
        if input_type == "uint8":
            images = np.floor(256 * images)
        try:
            other = Reference(
                path, self._original, self._facts, channels_last=self._channels_last, input_type=input_type
            )
            expected = other(images)
        except TeacherRefusedError as refusal:
            if is_for_lack_of_memory(refusal):
                raise
            return None
        difference = float(np.abs(self(images) - expected).max()) / max(1.0, float(np.abs(expected).max()))
        if not difference <= _PRECISION_TOLERANCE:
            why = f"In single precision its outputs differ by {100 * difference:.2g} % of the largest."
            raise self.differs(why, "Export the model in single precision (float32).")
        return difference

    def no_classifier(self, shape: tuple[int, ...]) -> TeacherRefusedError:
        """The refusal of a file whose output is something else than one row of numbers per image."""
        return TeacherRefusedError(
            "The file is not a classifier of images.",
            where=str(self._original),
            why=f"Its output has the shape {'x'.join(map(str, shape))}.",
            remedy="The app takes models with one row of 2 or more logits per image."
            + f" {ONE_OUTPUT}" * (shape[1:] == (1,)),
        )

    def _refused(self, what: str, error: Exception) -> TeacherRefusedError:
        return TeacherRefusedError(
            f"The ONNX model {what}.",
            where=str(self._original),
            why=first_line(error)[:300],
            remedy="Export the model again; it must run in onnxruntime.",
        )


def image_size(
    network: nn.Module, reference: Reference, facts: GraphFacts, wanted: tuple[int, int] | None
) -> tuple[int, int]:
    """A size at which graph and network run: its own, ``wanted``, or the first common one that both accept.

    Args:
        network: The converted graph.
        reference: The file.
        facts: What it takes.
        wanted: (height, width) that the user says images have.
    """
    if facts.size is not None:
        return facts.size
    sizes = (*([wanted] if wanted else []), *_CANDIDATE_SIZES)
    return next((size for size in sizes if _both_run(network, reference, (1, facts.channels, *size))), sizes[0])


def _both_run(network: nn.Module, reference: Reference, shape: tuple[int, ...]) -> bool:
    images = np.zeros(shape, np.float32)
    try:
        reference(images)
        with torch.no_grad():
            network(torch.from_numpy(images))
    except Exception:  # Each operator complains in its own way.
        return False
    return True


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


def check_parity(network: nn.Module, reference: Reference, shape: tuple[int, int, int]) -> Array:
    """Compares answers on random images at several batch sizes, and gradients with finite differences of the file.

    Args:
        network: The converted graph.
        reference: The file.
        shape: (C, H, W) of the images.

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
        _compare(network, images, answers[-1], reference)
    _compare_gradients(network, reference, draw.random((2, *shape), np.float32))
    return np.concatenate(answers)


def _compare(network: nn.Module, images: Array, expected: Array, reference: Reference) -> None:
    try:
        with torch.no_grad():
            actual = network(torch.from_numpy(images)).numpy()
    except Exception as error:  # Each converted operator fails in its own way.
        images_px = f"{len(images)} image{'s' * (len(images) > 1)} of {images.shape[2]}x{images.shape[3]} pixels"
        why = f"It fails on {images_px}: {type(error).__name__}: {str(error)[:200]}"
        raise reference.differs(why, reference.size_remedy) from error
    # Of four sides the last two may follow from the size of the images.
    if expected.ndim not in (2, 4) or expected.shape[1] < 2:
        raise reference.no_classifier(expected.shape)
    if actual.shape != expected.shape or expected.ndim != 2:
        why = f"The outputs have the shapes {actual.shape} and {expected.shape}."
        raise reference.differs(why, reference.size_remedy)
    if not np.isfinite(expected).all():
        raise reference.differs("The file's own outputs contain NaN or infinity.", _INTACT)
    tolerance = PARITY_TOLERANCE * max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(actual - expected).max())
    if not difference <= tolerance:
        raise reference.differs(
            f"The outputs differ by {difference:.2g} for {len(images)} images; allowed is {tolerance:.2g}."
        )
    ranked = np.sort(expected, axis=1)
    clear = ranked[:, -1] - ranked[:, -2] > 2 * difference
    if (actual.argmax(1) != expected.argmax(1))[clear].any():
        raise reference.differs("The predicted classes differ.")


def _compare_gradients(network: nn.Module, reference: Reference, images: Array) -> None:
    """Central differences along random directions against the gradient of a random mix of the answers."""
    draw = np.random.default_rng(1)
    pixels = torch.from_numpy(images).requires_grad_()
    answer = network(pixels)
    mix = draw.standard_normal(tuple(answer.shape)).astype(np.float32)
    if not answer.requires_grad:
        raise reference.differs("No gradient reaches the image.", _NO_GRADIENT)
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
        by = f"differ by {100 * error / scale:.0f} %" if scale else "are not zero, as those of the file are"
        raise reference.differs(f"The gradients {by}.")


def _difference_quotient(reference: Reference, images: Array, direction: npt.NDArray[np.float64], mix: Array) -> float:
    offset = (_STEP * direction).astype(np.float32)
    ahead, behind = reference(images + offset), reference(images - offset)
    return float(((ahead.astype(np.float64) - behind) * mix).sum() / (2 * _STEP))
