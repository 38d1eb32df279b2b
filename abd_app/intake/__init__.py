"""The only room that touches an untrusted file: from bytes to a :class:`~abd_app.teacher.Teacher`."""

from __future__ import annotations

from abd_app.intake.onnx_batch import OneByOne
from abd_app.intake.opening import TeacherFile, inspect_teacher, open_teacher, read_teacher
from abd_app.intake.weights_file import load_weights_only

__all__ = ["OneByOne", "TeacherFile", "inspect_teacher", "load_weights_only", "open_teacher", "read_teacher"]
