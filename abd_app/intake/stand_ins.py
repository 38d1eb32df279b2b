"""What a weights file gets in place of values that lie beside the weights and that the app has no use for.

Training scripts and backdoor benchmarks put arrays, options, dates and lists of losses into their checkpoints. Each
name below is answered by a class of this file, so nothing of the named library is imported, built or run. What arrays
consist of is kept, for a few files have no tensors but arrays.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any


class IgnoredValue:
    """Stands for a value: holds nothing, does nothing."""

    def __new__(cls, *_args: object, **_options: object) -> IgnoredValue:
        """Takes whatever the original constructor took."""
        return super().__new__(cls)

    def __init__(self, *_args: object, **_options: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass


class StoredType(IgnoredValue):
    """Stands for a type of NumPy's numbers: keeps its name, e.g. ``f4``, and its byte order."""

    name: object = None
    byte_order: object = None

    def __init__(self, name: object = None, *_options: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        self.byte_order = state[1] if isinstance(state, tuple) and len(state) > 1 else None


class StoredArray(IgnoredValue):
    """Stands for a NumPy array: keeps what the file says of it, which :mod:`abd_app.intake.arrays` reads."""

    state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class IgnoredMapping:
    """Stands for a kind of dictionary: makes an ordinary one, which the decoder fills."""

    def __new__(cls, *_args: object) -> OrderedDict[str, object]:  # type: ignore[misc]
        """Takes whatever the original constructor took, such as the type of missing entries."""
        return OrderedDict()


class IgnoredSequence:
    """Stands for a kind of list: makes an ordinary one, which the decoder fills."""

    def __new__(cls, *_args: object) -> list[object]:  # type: ignore[misc]
        """Takes whatever the original constructor took, such as a maximal length."""
        return []


class NoBytes:
    """Stands for ``bytes``, by whose call no bytes at all are written down; those of an empty array, for one."""

    def __new__(cls, *_args: object) -> bytes:  # type: ignore[misc]
        """Takes whatever the original constructor took, such as a length, and makes none."""
        return b""


_VALUES = (
    *("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
    *("numpy.ndarray", "argparse.Namespace", "types.SimpleNamespace", "PIL.Image.Image", "typing.Any"),
    *(
        f"{module}.{kind}"
        for module in ("pathlib", "pathlib._local")  # the second since Python 3.13
        for kind in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    ),
    *(f"datetime.{kind}" for kind in ("date", "datetime", "time", "timedelta", "timezone")),
    *(f"builtins.{kind}" for kind in ("int", "float", "str", "bool", "list", "dict", "tuple", "frozenset")),
    *("builtins.range", "builtins.slice", "decimal.Decimal", "uuid.UUID"),
    *(f"omegaconf.base.{kind}" for kind in ("ContainerMetadata", "Metadata")),
    *(f"omegaconf.{kind.lower()}.{kind}" for kind in ("DictConfig", "ListConfig")),
    *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "Boolean", "Float", "Integer", "String", "Path", "Bytes")),
)
_MAPPINGS = ("collections.defaultdict", "easydict.EasyDict", "addict.addict.Dict", "yacs.config.CfgNode")
_SEQUENCES = ("collections.deque",)
_ARRAYS = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")

STAND_INS: dict[str, Any] = {
    **dict.fromkeys(_VALUES, IgnoredValue),
    **dict.fromkeys(_MAPPINGS, IgnoredMapping),
    **dict.fromkeys(_SEQUENCES, IgnoredSequence),
    **dict.fromkeys(_ARRAYS, StoredArray),
    **{"numpy.dtype": StoredType, "builtins.bytes": NoBytes},
}
"""By the name that a file gives."""
