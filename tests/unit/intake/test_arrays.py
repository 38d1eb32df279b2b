"""Weights that are stored as NumPy arrays are read; arrays that are odd, or lie beside tensors, are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from abd_app.errors import TeacherRefusedError
from abd_app.intake import open_teacher
from abd_app.intake.arrays import with_tensors_for_arrays
from abd_app.intake.stand_ins import IgnoredValue, StoredArray, StoredType
from abd_app.intake.unwrap import unwrap
from abd_app.intake.weights_file import load_weights_only
from abd_app.plan import TeacherFacts

Save = Callable[..., str]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_state_dict_of_arrays_answers_as_the_network(
    wrn: nn.Module, saved: Save, facts: TeacherFacts, wrapped: bool, legacy: bool
) -> None:
    state = {name: value.numpy() for name, value in wrn.state_dict().items()}
    content = {"state_dict": state, "epoch": 3} if wrapped else state
    teacher = open_teacher(saved(content, _use_new_zipfile_serialization=not legacy), facts)
    images = torch.rand(3, 3, 32, 32)
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (facts.mean, facts.std))
    assert torch.allclose(teacher.network(images), wrn((images - mean) / std), atol=1e-5)
    (finding,) = [one for one in teacher.card.findings if "NumPy" in one.title]
    assert finding.severity == "info" and str(len(state)) in finding.detail


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (2, 3, 4)])
def test_numbers_are_what_they_were(saved: Save, dtype: str, order: str, shape: tuple[int, ...]) -> None:
    array = np.array(np.arange(np.prod(shape, dtype=int)).reshape(shape), dtype=dtype, order=order)  # type: ignore[call-overload]
    content = load_weights_only(saved({"a": array}), ignore_extras=True)
    assert with_tensors_for_arrays(content) == 1 and isinstance(content, dict)
    assert torch.equal(content["a"], torch.from_numpy(array))


def test_arrays_beside_tensors_are_no_weights(saved: Save) -> None:
    content = {"model": {"a.weight": torch.ones(2)}, "curves": {"loss": np.ones(3), "accuracy": np.ones(3)}}
    loaded = load_weights_only(saved(content), ignore_extras=True)
    assert with_tensors_for_arrays(loaded) == 0
    assert isinstance(loaded, dict) and isinstance(loaded["curves"]["loss"], IgnoredValue)


def test_arrays_of_other_things_are_no_weights(saved: Save) -> None:
    odd = {"text": np.array(["a", "b"]), "objects": np.array([{}, 1], dtype=object), "big": np.ones(3, dtype=">f4")}
    odd |= {"complex": np.ones(3, dtype="c8"), "fields": np.ones(3, dtype=[("a", "f4")])}
    loaded = load_weights_only(saved(odd), ignore_extras=True)
    assert with_tensors_for_arrays(loaded) == 0
    with pytest.raises(TeacherRefusedError, match="no weights"):
        unwrap(loaded, Path("t.pth"))


def _array(*state: object, order: object = "<", name: object = "f4") -> StoredArray:
    kind = StoredType(name)
    kind.__setstate__((3, order))
    array = StoredArray()
    array.__setstate__(tuple(kind if one == "kind" else one for one in state))
    return array


@pytest.mark.parametrize(
    "array",
    [
        StoredArray(),
        _array(),
        _array(1, (10**12,), "kind", False, b"1234"),
        _array(1, (2,), "kind", False, b"1234"),
        _array(1, (-1, -1), "kind", False, b"1234"),
        _array(1, (True,), "kind", False, b"1234"),
        _array(1, (10**30, 0), "kind", False, b""),
        _array(1, (1,) * 50, "kind", False, b"1234"),
        _array(1, [1], "kind", False, b"1234"),
        _array(1, (1,), "kind", False, "1234"),
        _array(1, (1,), StoredType.__new__(StoredType), False, b"1234"),
        _array(1, (1,), "kind", False, b"1234", name=["f4"]),
        _array(1, (1,), "kind", False, b"1234", order=[]),
        _array(1, (1,), None, False, b"1234"),
    ],
)
def test_arrays_that_lie_are_no_weights(array: StoredArray) -> None:
    content = {"a": array}
    assert with_tensors_for_arrays(content) == 0
    assert content["a"] is array


def test_many_names_of_one_array_are_one_tensor() -> None:
    kind, array = StoredType("f4"), StoredArray()
    kind.byte_order = "<"
    array.state = (1, (1000,), kind, False, bytes(4000))
    state: dict[object, object] = {f"layer{index}.weight": array for index in range(50)}
    assert with_tensors_for_arrays(state) == 50
    assert len({one.data_ptr() for one in state.values() if isinstance(one, torch.Tensor)}) == 1
