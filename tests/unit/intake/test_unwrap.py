"""Weights are found under the usual wrappers and prefixes; what was changed on the way is reported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from abd_app.errors import TeacherRefusedError
from abd_app.intake.unwrap import unwrap

HERE = Path("teacher.pth")


def _weights() -> dict[str, torch.Tensor]:
    return {"conv.weight": torch.ones(4, 3, 3, 3), "conv.bias": torch.zeros(4), "fc.weight": torch.ones(2, 4)}


@pytest.mark.parametrize(
    "name", ["state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "net", "netC"]
)
def test_wrappers(name: str) -> None:
    assert set(unwrap({name: _weights(), "epoch": 3}, HERE).tensors) == set(_weights())


def test_averaged_weights_win_and_are_reported() -> None:
    weights = unwrap({"state_dict": _weights(), "state_dict_ema": {k: v + 1 for k, v in _weights().items()}}, HERE)
    assert weights.tensors["fc.weight"][0, 0] == 2
    assert any("EMA" in finding.title for finding in weights.findings)


def test_nested_wrappers() -> None:
    assert set(unwrap({"model": {"state_dict": _weights()}}, HERE).tensors) == set(_weights())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.", "1.", "model."])
def test_prefixes(prefix: str) -> None:
    assert set(unwrap({prefix + name: value for name, value in _weights().items()}, HERE).tensors) == set(_weights())


def test_normalisation_layer_in_front_states_mean_and_std() -> None:
    content = {f"1.{name}": value for name, value in _weights().items()}
    content |= {"0.mean": torch.full((1, 3, 1, 1), 0.5), "0.std": torch.full((1, 3, 1, 1), 0.25)}
    weights = unwrap(content, HERE)
    assert set(weights.tensors) == set(_weights())
    assert weights.stated.mean == (0.5,) * 3
    assert weights.stated.std == (0.25,) * 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_fp32_with_a_finding(dtype: torch.dtype) -> None:
    weights = unwrap({name: value.to(dtype) for name, value in _weights().items()}, HERE)
    assert all(value.dtype is torch.float32 for value in weights.tensors.values())
    assert any(str(dtype).removeprefix("torch.") in finding.detail for finding in weights.findings)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_dangerous(value: float) -> None:
    content = _weights()
    content["fc.weight"][0, 0] = value
    dangers = [finding for finding in unwrap(content, HERE).findings if finding.severity == "danger"]
    assert len(dangers) == 1
    assert "fc.weight" in dangers[0].detail


def test_bookkeeping_is_left_out_with_a_finding() -> None:
    weights = unwrap({**_weights(), "conv.total_ops": torch.zeros(1), "epoch": 3}, HERE)
    assert set(weights.tensors) == set(_weights())
    assert any("left out" in finding.title for finding in weights.findings)


def test_backdoorbench_facts() -> None:
    content = {
        "model_name": "preactresnet18",
        "num_classes": 10,
        "model": _weights(),
        "img_size": (32, 32, 3),
        "clean_data": "CIFAR10",
        "bd_train": {"x": [1, 2]},
    }
    stated = unwrap(content, HERE).stated
    assert (stated.architecture, stated.num_classes, stated.dataset) == ("preactresnet18", 10, "cifar10")
    assert stated.input_size == (32, 32)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], torch.rand(3), {"model": {"a": "text"}}, None])
def test_no_weights_is_a_refusal(content: object) -> None:
    with pytest.raises(TeacherRefusedError, match="no weights"):
        unwrap(content, HERE)


def test_sparse_tensors_are_refused() -> None:
    with pytest.raises(TeacherRefusedError, match="sparse"):
        unwrap({**_weights(), "emb.weight": torch.eye(3).to_sparse()}, HERE)
