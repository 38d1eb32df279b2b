"""No code of a file runs, and what a refused file asked for is named."""

from __future__ import annotations

import argparse
import collections
import datetime
import errno
import os
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from torch import nn

from abd_app.errors import AuditError, RunFailedError, TeacherRefusedError
from abd_app.intake.stand_ins import STAND_INS, IgnoredValue
from abd_app.intake.weights_file import load_safetensors, load_weights_only


class _Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("ignore_extras", [False, True])
def test_a_payload_is_named_and_does_not_run(
    tmp_path: Path, saved: Callable[..., str], legacy: bool, ignore_extras: bool
) -> None:
    marker = tmp_path / "ran"
    content = {"weight": torch.rand(2), "x": _Payload(marker)}
    path = saved(content, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(TeacherRefusedError, match="would run code") as caught:
        load_weights_only(path, ignore_extras=ignore_extras)
    assert "mkdir" in caught.value.why
    assert not marker.exists()


def test_a_whole_module_is_refused_with_the_way_out(saved: Callable[..., str]) -> None:
    with pytest.raises(TeacherRefusedError) as caught:
        load_weights_only(saved(nn.Linear(2, 2)))
    assert "torch.nn.modules.linear.Linear" in caught.value.why
    assert "state_dict" in caught.value.remedy


def test_tensors_and_plain_values_come_back(saved: Callable[..., str]) -> None:
    content = {"step": 3, "weights": {"a": torch.arange(4.0)}, "names": ["x", None, True]}
    loaded = load_weights_only(saved(content))
    assert isinstance(loaded, dict)
    assert torch.equal(loaded["weights"]["a"], torch.arange(4.0))
    assert (loaded["step"], loaded["names"]) == (3, ["x", None, True])


def test_extras_are_replaced_by_stand_ins(saved: Callable[..., str]) -> None:
    extras = {
        "array": np.arange(5),
        "empty": np.arange(0),
        "objects": np.array([{}, "x"], dtype=object),
        "number": np.float64(0.1),
        "args": argparse.Namespace(lr=0.1),
        "path": PurePosixPath("runs/1"),
        "date": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        "namespace": types.SimpleNamespace(lr=0.1),
    }
    path = saved({"model": {"a": torch.ones(2)}, **extras})
    loaded = load_weights_only(path, ignore_extras=True)
    assert isinstance(loaded, dict)
    assert all(isinstance(loaded[name], IgnoredValue) for name in extras)
    assert torch.equal(loaded["model"]["a"], torch.ones(2))
    with pytest.raises(TeacherRefusedError, match="more than weights"):
        load_weights_only(path)


def test_other_kinds_of_dictionaries_and_lists_hold_what_they_held(
    saved: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = types.ModuleType("easydict")
    options = type("EasyDict", (dict,), {"__module__": "easydict"})(lr=0.1)
    options.comment = "an attribute, as libraries of options have them"
    library.EasyDict = type(options)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "easydict", library)
    history = collections.defaultdict(list, loss=[1.0, 0.5])
    path = saved({"history": history, "last": collections.deque([3, 4], 5), "args": options, "type": int})
    monkeypatch.delitem(sys.modules, "easydict")
    loaded = load_weights_only(path, ignore_extras=True)
    stand_in = {"type": IgnoredValue}
    assert loaded == {"history": {"loss": [1.0, 0.5]}, "last": [3, 4], "args": {"lr": 0.1}, **stand_in}
    with pytest.raises(TeacherRefusedError, match="more than weights"):
        load_weights_only(path)


def test_another_pickle_protocol_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "teacher.pth"
    torch.save({"a": torch.ones(2)}, path, pickle_protocol=4)
    with pytest.raises(TeacherRefusedError, match="form of pickle") as caught:
        load_weights_only(path)
    assert "weights_only" not in str(caught.value) and "torch.save" in caught.value.remedy


@pytest.mark.parametrize("name", ["values", "keys", "get"])
def test_attributes_of_dictionaries_hide_no_method(saved: Callable[..., str], name: str) -> None:
    options = collections.OrderedDict(lr=0.1)
    setattr(options, name, [1, 2])
    weights = collections.OrderedDict(a=torch.ones(2))
    setattr(weights, name, "hidden")
    loaded = load_weights_only(saved({"model": weights, "args": [options]}), ignore_extras=True)
    assert isinstance(loaded, dict) and loaded["args"] == [{"lr": 0.1}]
    assert list(loaded["model"].keys()) == ["a"] and len(list(loaded["model"].values())) == 1


def test_paths_of_python_3_13_get_a_stand_in() -> None:
    assert {f"{module}.PosixPath" for module in ("pathlib", "pathlib._local")} <= STAND_INS.keys()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_files_are_refused(saved: Callable[..., str], share: float) -> None:
    path = Path(saved({"a": torch.rand(1000)}))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(TeacherRefusedError, match="incomplete or damaged"):
        load_weights_only(path)


def test_a_byte_that_is_not_as_its_checksum_says_is_refused(saved: Callable[..., str]) -> None:
    path = Path(saved({"a": torch.arange(1000.0)}))
    content = bytearray(path.read_bytes())
    content[content.index(torch.tensor(500.0).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["a"].shape == (1000,), "PyTorch itself does not look"
    with pytest.raises(TeacherRefusedError, match="incomplete or damaged") as caught:
        load_weights_only(path)
    assert "checksum" in caught.value.why and "data/0" in caught.value.why


def test_an_archive_that_would_keep_a_reader_busy_is_not_read_for_checksums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(10_000_000))
    read: list[str] = []
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda self: read.append("all"))
    with pytest.raises(TeacherRefusedError, match="incomplete or damaged"):
        load_weights_only(path)
    assert not read


@pytest.mark.parametrize(("megabytes", "refused"), [(80, True), (8, False)])
def test_an_archive_that_unpacks_to_far_more_than_its_size_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, megabytes: int, refused: bool
) -> None:
    stored, deflated = tmp_path / "stored.pth", tmp_path / "deflated.pth"
    torch.save({"conv.weight": torch.zeros(megabytes, 1024, 256)}, stored)
    with zipfile.ZipFile(stored) as source, zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in source.namelist():
            packed.writestr(name, source.read(name))
    load_weights_only(stored)
    if not refused:
        assert isinstance(load_weights_only(deflated), dict), "small ones may be deflated as they like"
        return
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was unpacked"))
    with pytest.raises(TeacherRefusedError, match="unpacks to far more") as caught:
        load_weights_only(deflated)
    assert f"{deflated.stat().st_size:,}" in caught.value.why


def test_truncated_safetensors_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save

    path = tmp_path / "model.safetensors"
    path.write_bytes(save({"a": torch.rand(100)})[:-10])
    with pytest.raises(TeacherRefusedError, match="incomplete or damaged"):
        load_safetensors(path)


@pytest.mark.parametrize(("number", "kind"), [(errno.EIO, RunFailedError), (errno.EINVAL, TeacherRefusedError)])
def test_a_drive_that_fails_is_told_from_a_damaged_file(
    saved: Callable[..., str], monkeypatch: pytest.MonkeyPatch, number: int, kind: type[AuditError]
) -> None:
    """Someone told that a checkpoint is damaged would delete it."""
    path = saved({"a": torch.rand(10)})

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, "Something failed")

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(kind, match="cannot be read now" if number == errno.EIO else "damaged") as caught:
        load_weights_only(path)
    assert caught.value.where == path and "Something failed" in caught.value.why
