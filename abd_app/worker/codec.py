"""Messages as JSON bytes. The child reads untrusted files, so nothing that it sends is ever unpickled."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from abd_app import events
from abd_app.events import Event
from abd_app.worker.messages import AuditJob, Command, InspectionFinished, InspectJob, PauseChanged

Message = Event | InspectJob | AuditJob | Command

MAX_MESSAGE_BYTES = 64 * 1024 * 1024

_OWN: tuple[type[Any], ...] = (InspectJob, AuditJob, Command, InspectionFinished, PauseChanged)
_EVENTS = (kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event))
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (*_EVENTS, *_OWN) if kind is not Event}


_hints_of: Callable[[Any], dict[str, Any]] = functools.cache(get_type_hints)


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
        return _build(_KINDS[raw.pop("kind")], raw)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
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


def _build(kind: type[Any], raw: dict[str, Any]) -> Any:
    hints = _hints_of(kind)
    if unknown := set(raw) - set(hints):
        raise ValueError(f"unknown fields {sorted(unknown)}")
    return kind(**{name: _restore(hints[name], value) for name, value in raw.items()})


def _restore(hint: Any, value: Any) -> Any:
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _restore_union([arg for arg in get_args(hint) if arg is not type(None)], value)
    if origin is Literal:
        if value not in get_args(hint):
            raise ValueError(f"{value!r} is not one of {get_args(hint)}")
        return value
    if origin is tuple:
        return _restore_tuple(get_args(hint), value)
    if origin is dict:
        return {_typed(str, key): _restore(get_args(hint)[1], item) for key, item in value.items()}
    if origin is np.ndarray:
        return _restore_array(value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value)
    return _typed(hint, value)


def _restore_union(hints: list[Any], value: Any) -> Any:
    """The value as the first of the types that it fits."""
    if value is None:
        return None
    for hint in hints[:-1]:
        with contextlib.suppress(TypeError, ValueError):
            return _restore(hint, value)
    return _restore(hints[-1], value)


def _restore_tuple(hints: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    items = _typed(list, value)
    if len(hints) == 2 and hints[1] is Ellipsis:
        return tuple(_restore(hints[0], item) for item in items)
    if len(items) != len(hints):
        raise ValueError(f"{len(items)} values where {len(hints)} belong")
    return tuple(_restore(hint, item) for hint, item in zip(hints, items, strict=True))


def _restore_array(value: dict[str, Any]) -> npt.NDArray[Any]:
    dtype, shape = np.dtype(value["dtype"]), tuple(_typed(int, side) for side in value["shape"])
    if dtype.kind not in "buif" or min(shape, default=0) < 0:
        raise ValueError(f"array of {dtype} {shape}")
    data = base64.b64decode(value["data"], validate=True)
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError("array data and shape differ")
    return np.frombuffer(data, dtype).reshape(shape)


def _typed(kind: Any, value: Any) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} where {kind.__name__} belongs")
    return value
