"""Messages as JSON bytes. The child reads untrusted files, so nothing that it sends is ever unpickled."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any

import numpy as np

from abd_app import events
from abd_app.events import Event
from abd_app.typed_json import from_parsed
from abd_app.worker.messages import AuditJob, Command, ImagesJob, InspectionFinished, InspectJob, PauseChanged

Message = Event | InspectJob | ImagesJob | AuditJob | Command

MAX_MESSAGE_BYTES = 64 * 1024 * 1024

_OWN: tuple[type[Any], ...] = (InspectJob, ImagesJob, AuditJob, Command, InspectionFinished, PauseChanged)
_EVENTS = (kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event))
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (*_EVENTS, *_OWN) if kind is not Event}


class CodecError(ValueError):
    """The bytes are not a message of this app."""


def encode(message: Message) -> bytes:
    """A message as JSON bytes; arrays as base64 with their dtype and shape."""
    return json.dumps({"kind": type(message).__name__, **_plain(message)}).encode()


def decode(data: bytes) -> Any:
    """The message that :func:`encode` wrote.

    Raises:
        CodecError: The bytes are not JSON, name no known message, or a field has the wrong type.
    """
    try:
        raw = json.loads(data)
        return from_parsed(_KINDS[raw.pop("kind")], raw)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CodecError(f"not a message: {type(error).__name__}: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
        return {"data": data, "dtype": value.dtype.str, "shape": list(value.shape)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
