"""The only room that touches an untrusted file: from bytes to a :class:`~abd_app.teacher.Teacher`."""

from __future__ import annotations

from abd_app.intake.onnx_batch import OneByOne
from abd_app.intake.opening import inspect_teacher, open_teacher
from abd_app.intake.weights_file import load_weights_only

__all__ = ["OneByOne", "inspect_teacher", "load_weights_only", "open_teacher"]
