"""A network that does not answer as its file does, or has another gradient, is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from onnx import helper
from torch import nn

from abd_app.errors import TeacherRefusedError
from abd_app.intake.onnx_graph import GraphFacts
from abd_app.intake.onnx_parity import Reference, check_parity
from tests.unit.intake.graphs import classifier, opened, saved


def test_a_step_without_gradient_is_refused(tmp_path: Path) -> None:
    front = [helper.make_node("Round", ["x"], ["x1"])]
    with pytest.raises(TeacherRefusedError) as caught:
        opened(classifier(front), tmp_path)
    assert "radient" in caught.value.why


def test_parity_fails_for_another_network(tmp_path: Path) -> None:
    path = Path(saved(classifier(), tmp_path))
    reference = Reference(path, path, GraphFacts("x", "y", None, 3, (8, 8), 3, None, 0.0))
    network = opened(classifier(), tmp_path).network
    answers = check_parity(network, reference, (3, 8, 8), path)
    assert answers.shape[1] == 3
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data[0, 0, 0, 0] += 0.1
    with pytest.raises(TeacherRefusedError, match="faithfully"):
        check_parity(network, reference, (3, 8, 8), path)


def test_a_wrong_gradient_is_noticed(tmp_path: Path) -> None:
    class HalfGradient(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.network(images)
            return (answer + answer.detach()) / 2

    path = Path(saved(classifier(), tmp_path))
    reference = Reference(path, path, GraphFacts("x", "y", None, 3, (8, 8), 3, None, 0.0))
    with pytest.raises(TeacherRefusedError, match="faithfully") as caught:
        check_parity(HalfGradient(opened(classifier(), tmp_path).network), reference, (3, 8, 8), path)
    assert "gradients differ" in caught.value.why
