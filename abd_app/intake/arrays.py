"""Weights that a file holds as NumPy arrays, read from their bytes; no NumPy code takes part."""

from __future__ import annotations

import math
import warnings

import torch

from abd_app.intake.dictionaries import dictionaries
from abd_app.intake.stand_ins import StoredArray, StoredType

_TYPES = {
    **{"f2": torch.float16, "f4": torch.float32, "f8": torch.float64},
    **{"i1": torch.int8, "i2": torch.int16, "i4": torch.int32, "i8": torch.int64, "u1": torch.uint8},
}
_NATIVE = ("<", "|", "=")
"""Byte orders of the machines that the app runs on."""
_MOST_DIMENSIONS = 8


def with_tensors_for_arrays(content: object) -> int:
    """Puts tensors in the place of arrays in all dictionaries, if the file holds no tensor; how many it put there.

    Beside tensors arrays are no weights: labels, indices, curves.
    """
    found = list(dictionaries(content))
    if any(isinstance(value, torch.Tensor) for one in found for value in one.values()):
        return 0
    count, made = 0, dict[int, torch.Tensor | None]()
    for one in found:
        for name, value in one.items():
            if not isinstance(value, StoredArray):
                continue
            if id(value) not in made:  # of many references to one array each would be a copy
                made[id(value)] = _tensor(value)
            if (tensor := made[id(value)]) is not None:
                one[name] = tensor
                count += 1
    return count


def _tensor(array: StoredArray) -> torch.Tensor | None:
    """The array's numbers; ``None`` if it holds something else, or not as many as its shape says."""
    if not isinstance(array.state, tuple) or len(array.state) != 5:
        return None
    _version, shape, kind, by_columns, content = array.state
    if not isinstance(kind, StoredType) or kind.byte_order not in _NATIVE or not isinstance(content, bytes):
        return None
    dtype = _TYPES.get(kind.name) if isinstance(kind.name, str) else None
    if dtype is None or not isinstance(shape, tuple) or len(shape) > _MOST_DIMENSIONS:
        return None
    if not all(type(length) is int and 0 <= length <= len(content) for length in shape):
        return None
    if math.prod(shape) * dtype.itemsize != len(content):
        return None
    if not content:
        return torch.empty(shape, dtype=dtype)
    with warnings.catch_warnings(action="ignore"):  # The bytes may not be written to; they are copied.
        flat = torch.frombuffer(content, dtype=dtype).clone()
    return flat.reshape(shape[::-1]).permute(tuple(reversed(range(len(shape))))) if by_columns else flat.reshape(shape)
