"""Facts that stand beside the weights: what is usable is taken, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from abd_app.intake.unwrap import unwrap

HERE = Path("teacher.pth")


def _weights() -> dict[str, torch.Tensor]:
    return {"conv.weight": torch.ones(4, 3, 3, 3), "conv.bias": torch.zeros(4), "fc.weight": torch.ones(2, 4)}


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


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (1, 3, 1, 1)])
@pytest.mark.parametrize("beside", [{}, {"epoch": 3}, {"criterion": torch.ones(2), "step": torch.tensor(3)}])
def test_tensors_beside_the_state_dict_state_the_normalisation(
    shape: tuple[int, ...], beside: dict[str, object]
) -> None:
    numbers = {"mean": torch.full(shape, 0.5, dtype=torch.float64), "std": torch.full(shape, 0.25)}
    weights = unwrap({"state_dict": _weights(), **numbers, **beside}, HERE)
    assert set(weights.tensors) == set(_weights())
    assert (weights.stated.mean, weights.stated.std) == ((0.5,) * 3, (0.25,) * 3)


@pytest.mark.parametrize("mean", [[10**400] * 3, torch.rand(2, 3), [[0.5]] * 3, "0.5", [None] * 3])
def test_what_is_no_mean_states_nothing(mean: object) -> None:
    content = {"state_dict": _weights(), "mean": mean, "std": [1] * 3}
    assert unwrap(content, HERE).stated.mean is None
    assert unwrap({**content, "image_mean": mean, "mean": [0.5] * 3}, HERE).stated.mean == (0.5,) * 3


@pytest.mark.parametrize("key", [float("inf"), torch.empty((), device="meta"), "one", None])
def test_labels_without_numbers_name_no_classes(key: object) -> None:
    assert unwrap({"state_dict": _weights(), "id2label": {key: "stop", 1: "go"}}, HERE).stated.class_names == ()


def test_more_classes_than_anything_has_are_not_believed() -> None:
    assert unwrap({"state_dict": _weights(), "num_classes": 10**400}, HERE).stated.num_classes is None


def test_stated_numbers_for_pixels_up_to_255_are_read_as_such() -> None:
    stated = unwrap({"state_dict": _weights(), "mean": [51.0, 102.0, 127.5], "std": [51.0] * 3}, HERE).stated
    assert stated.mean == pytest.approx((0.2, 0.4, 0.5)) and stated.std == pytest.approx((0.2,) * 3)


@pytest.mark.parametrize(
    "beside",
    [
        {"class_to_idx": {"go": 1, "stop": 0}},
        {"classes": ["stop", "go"]},
        {"class_names": ("stop", "go")},
        {"names": {1: "go", 0: "stop"}},
        {"classes": 2, "label_names": ["stop", "go"]},
    ],
)
def test_class_names_are_found_under_the_usual_keys(beside: dict[str, object]) -> None:
    assert unwrap({"state_dict": _weights(), **beside}, HERE).stated.class_names == ("stop", "go")


@pytest.mark.parametrize(
    "indices", [{"stop": 0, "go": 2}, {"stop": 1, "go": 2}, {"stop": 0, "go": 0}, {"stop": [], "go": 1}, {1: 0, 2: 1}]
)
def test_indices_that_are_not_those_of_all_classes_name_none(indices: dict[object, object]) -> None:
    assert unwrap({"state_dict": _weights(), "class_to_idx": indices}, HERE).stated.class_names == ()
