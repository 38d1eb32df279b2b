"""Frozen dataclasses from parsed JSON, every value checked against the type that its field is declared with."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

_hints_of: Callable[[Any], dict[str, Any]] = functools.cache(get_type_hints)


def from_parsed(kind: type[Any], raw: dict[str, Any]) -> Any:
    """An instance of a dataclass; nested dataclasses, tuples, literals and arrays are restored.

    Args:
        kind: The dataclass.
        raw: A value for each field, as ``json.loads`` gives it; those with a default may be missing.

    Raises:
        TypeError: A value has the wrong type, or one without a default is missing; the message names the field.
        ValueError: A field is unknown, or a value is out of range or none of its literals.
    """
    hints = _hints_of(kind)
    raw = _typed(dict, raw)
    if unknown := set(raw) - set(hints):
        raise ValueError(f"unknown keys: {', '.join(sorted(unknown))}")
    return kind(**{name: _restore_field(name, hints[name], value) for name, value in raw.items()})


def _restore_field(name: str, hint: Any, value: Any) -> Any:
    try:
        return _restore(hint, value)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from error
    except (ValueError, LookupError, OverflowError) as error:
        raise ValueError(f"{name}: {error}") from error


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
        return {_typed(str, key): _restore(get_args(hint)[1], item) for key, item in _typed(dict, value).items()}
    if origin is np.ndarray:
        return _restore_array(value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_parsed(hint, value)
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
    items = value if isinstance(value, tuple) else _typed(list, value)  # JSON has lists alone
    if len(hints) == 2 and hints[1] is Ellipsis:
        return tuple(_restore(hints[0], item) for item in items)
    if len(items) != len(hints):
        raise ValueError(f"{len(items)} values where {len(hints)} belong")
    return tuple(_restore(hint, item) for hint, item in zip(hints, items, strict=True))


def _restore_array(value: Any) -> npt.NDArray[Any]:
    value = _typed(dict, value)
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
