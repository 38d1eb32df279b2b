"""From a private copy to what it holds, by the kind that its content shows."""

from __future__ import annotations

import dataclasses

from abd_app.errors import AuditError, RunFailedError, TeacherRefusedError, first_line
from abd_app.intake.candidate import Candidate
from abd_app.intake.from_onnx import from_onnx
from abd_app.intake.from_weights import from_weights
from abd_app.intake.memory_limit import is_for_lack_of_memory, no_room
from abd_app.intake.private_copy import PrivateCopy
from abd_app.intake.sniff import FileKind, sniff
from abd_app.intake.stated import from_metadata
from abd_app.intake.unwrap import unwrap
from abd_app.intake.weights_file import load_safetensors, load_weights_only
from abd_app.plan import TeacherFacts


def read_candidate(copy: PrivateCopy, facts: TeacherFacts) -> Candidate:
    """Looks into a private copy and builds the network it holds.

    Raises:
        TeacherRefusedError: The file is not a usable teacher.
        UsageError: ``facts.architecture`` does not fit the weights.
        RunFailedError: The system has no memory or room for it, or no handle.
    """
    try:
        return _read(copy, facts)
    except AuditError as failure:
        if failure.where == str(copy.path):  # The user knows the file, not our copy of it.
            failure.where = str(copy.original)
        raise
    except OSError as error:
        raise RunFailedError(
            "The file cannot be read now.",
            where=str(copy.original),
            why=error.strerror or str(error),
            remedy="Free some space or close other programs, and try again.",
        ) from error
    except Exception as error:  # A file may be odd in ways that nobody has thought of.
        if is_for_lack_of_memory(error):
            raise no_room(copy.original, error) from error
        raise TeacherRefusedError(
            "The file holds something unexpected, and the app cannot read it.",
            where=str(copy.original),
            why=f"{type(error).__name__}: {first_line(error)[:200]}",
            remedy="Save the model's state_dict alone: torch.save(model.state_dict(), 'weights.pth'); or export the "
            "model as ONNX.",
        ) from error


def _read(copy: PrivateCopy, facts: TeacherFacts) -> Candidate:
    kind = sniff(copy.path, copy.original)
    if kind is FileKind.ONNX:
        return from_onnx(copy, facts.input_size)
    if kind is FileKind.SAFETENSORS:
        tensors, metadata = load_safetensors(copy.path)
        weights = unwrap(tensors, copy.original)
        stated = weights.stated.merged(from_metadata(metadata, "the file"))
        weights = dataclasses.replace(weights, stated=stated)
    else:
        weights = unwrap(load_weights_only(copy.path, ignore_extras=True), copy.original)
    return from_weights(kind, weights, copy.original, facts)
