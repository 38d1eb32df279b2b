"""Weights in two factors become plain ones, and a network of them answers as it did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from abd_app.intake import open_teacher
from abd_app.intake.folding import folded
from abd_app.intake.unwrap import unwrap
from abd_app.plan import TeacherFacts
from abd_app.teacher import Finding

Save = Callable[..., str]


def _pruned(network: nn.Module) -> None:
    for name in ("conv1", "block1.layer.0.conv1", "fc"):
        prune.random_unstructured(network.get_submodule(name), "weight", 0.4)
    prune.random_unstructured(network.get_submodule("fc"), "bias", 0.4)


def _scaled(network: nn.Module) -> None:
    for name, dim in (("conv1", 0), ("block1.layer.0.conv1", 1), ("fc", None)):
        parametrizations.weight_norm(network.get_submodule(name), dim=dim)  # type: ignore[arg-type]
    with torch.no_grad():
        network.get_submodule("conv1.parametrizations.weight").original0.mul_(1.5)  # type: ignore[operator, union-attr]


def _scaled_the_old_way(network: nn.Module) -> None:
    for name, dim in (("conv1", 0), ("block1.layer.0.conv1", 1), ("fc", None)):
        with pytest.warns(FutureWarning):
            nn.utils.weight_norm(network.get_submodule(name), dim=dim)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [_pruned, _scaled, _scaled_the_old_way])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_network_of_factors_answers_as_it_did(
    wrn: nn.Module, saved: Save, facts: TeacherFacts, change: Callable[[nn.Module], None], prefix: str
) -> None:
    change(wrn)
    teacher = open_teacher(saved({prefix + name: value for name, value in wrn.state_dict().items()}), facts)
    images = torch.rand(3, 3, 32, 32)
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (facts.mean, facts.std))
    assert teacher.card.architecture == "wrn-16-1"
    assert torch.allclose(teacher.network(images), wrn((images - mean) / std), atol=1e-5)
    (finding,) = [one for one in teacher.card.findings if "two factors" in one.title]
    assert finding.severity == "info" and ("4 of pruning" if change is _pruned else "3 of weight") in finding.detail


@pytest.mark.parametrize(
    "tensors",
    [
        {"a.weight_orig": torch.ones(3, 2), "a.weight_mask": torch.ones(2, 3)},
        {"a.weight_orig": torch.ones(3, 2), "a.weight_u": torch.ones(3), "a.weight_v": torch.ones(2)},
        {"a.weight_orig": torch.ones(2), "a.weight_mask": torch.ones(2), "a.weight": torch.ones(2)},
        {"a.weight_g": torch.ones(3, 2), "a.weight_v": torch.ones(3, 2)},
        {"a.weight_g": torch.ones(3), "a.weight_v": torch.ones(3, 2)},
        {"a.weight_g": torch.ones(4, 1), "a.weight_v": torch.ones(3, 2)},
        {"a.weight_g": torch.ones(3, 1), "a.weight_v": torch.ones(3, 2, dtype=torch.int64)},
        {"a.parametrizations.weight.original": torch.ones(3, 2)},
        {f"a.weight_{leaf}": torch.ones(1, 1) for leaf in ("orig", "mask", "g", "v")},
        {"a.weight_orig": torch.ones(1).expand(2000, 9), "a.weight_mask": torch.ones(1).expand(2000, 9)},
    ],
)
def test_what_is_no_pair_of_factors_or_repeats_what_is_stored_stays(tensors: dict[str, torch.Tensor]) -> None:
    findings: list[Finding] = []
    assert folded(tensors, findings) is tensors and not findings


def test_many_names_take_no_time() -> None:
    tensors = {f"{index}.parametrizations.weight.original0": torch.ones(()) for index in range(50_000)}
    assert folded(tensors, []) is tensors
    assert len(unwrap({"a.weight_mask": torch.ones(2), "a.bias": torch.ones(2)}, Path("t.pth")).tensors) == 2


def test_each_number_of_a_vector_has_a_norm_of_its_own() -> None:
    norms, directions = torch.tensor([2.0, 3.0]), torch.tensor([0.5, -4.0])
    made = folded({"weight_g": norms, "weight_v": directions}, [])
    assert torch.allclose(made["weight"], torch._weight_norm(directions, norms, 0))


def test_factors_whose_product_is_no_number_are_a_danger() -> None:
    state = {"fc.weight_g": torch.ones(4, 1), "fc.weight_v": torch.zeros(4, 3), "fc.bias": torch.zeros(4)}
    findings = unwrap(state, Path("a.pth")).findings
    assert any(one.severity == "danger" and "NaN" in one.title and "fc.weight" in one.detail for one in findings)
