"""What a weights file gets in place of values that lie beside the weights and that the app has no use for.

Training scripts and backdoor benchmarks put arrays, options, dates and lists of losses into their checkpoints. Each
name below is answered by a class of this file, so nothing of the named library is imported, built or run.
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


_VALUES = (
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *("numpy.ndarray", "numpy.dtype", "argparse.Namespace", "types.SimpleNamespace", "PIL.Image.Image", "typing.Any"),
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

STAND_INS: dict[str, Any] = {
    **dict.fromkeys(_VALUES, IgnoredValue),
    **dict.fromkeys(_MAPPINGS, IgnoredMapping),
    **dict.fromkeys(_SEQUENCES, IgnoredSequence),
}
"""By the name that a file gives."""
