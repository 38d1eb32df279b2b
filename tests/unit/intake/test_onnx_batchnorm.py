"""The BatchNorm layers of a graph stay layers with statistics: image sources and activation bounds live on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import nn

from abd_app.distill.observe import batchnorm_distances
from abd_app.errors import TeacherRefusedError
from abd_app.intake import open_teacher
from abd_app.networks.batchnorm import tracked_batchnorms
from tests.unit.intake.graphs import PLAIN, answers, classifier, opened


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")  # of the legacy exporter
def test_batchnorm_that_the_file_still_has_is_kept(wrn: nn.Module, tmp_path: Path) -> None:
    file = str(tmp_path / "wrn.onnx")
    torch.onnx.export(
        wrn,
        (torch.rand(2, 3, 16, 16),),
        file,
        dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        input_names=["x"],
        dynamic_axes={"x": {0: "batch"}},
    )
    teacher = open_teacher(file, PLAIN)
    layers = tracked_batchnorms(teacher.network)
    theirs = [module for module in wrn.modules() if isinstance(module, nn.BatchNorm2d)]
    assert teacher.card.batchnorm_layers == len(layers) == len(theirs) and not teacher.card.batchnorm_folded
    assert not any(layer.training for layer in layers)
    means = [layer.running_mean for layer in theirs]
    assert all(any(torch.equal(layer.running_mean, mean) for mean in means) for layer in layers)  # type: ignore[arg-type]
    images = torch.rand(7, 3, 16, 16)
    assert torch.allclose(teacher.network(images), wrn(images), atol=1e-4)
    with batchnorm_distances(teacher.network) as distances:
        teacher.network(images)
    assert len(distances) == len(theirs), "hooks run"


def test_batchnorm_that_says_that_it_infers_is_converted(tmp_path: Path) -> None:
    images = torch.rand(3, 3, 8, 8)
    teacher = opened(_normalising(training_mode=0), tmp_path)
    assert torch.allclose(teacher.network(images), answers(_normalising(), images), atol=1e-4)


def _normalising(**attributes: int) -> onnx.ModelProto:
    outputs = ["x1", "mean", "variance"] if attributes.get("training_mode") else ["x1"]
    front = [helper.make_node("BatchNormalization", ["x", "gamma", "beta", "mu", "var"], outputs, **attributes)]
    constants = {"gamma": [1, 2, 3], "beta": [0, 1, 0], "mu": [0.4, 0.5, 0.6], "var": [0.1, 0.2, 0.3]}
    return classifier(front, **{name: np.array(values, np.float32) for name, values in constants.items()})


def _dropping(ratio: float) -> onnx.ModelProto:
    front = [helper.make_node("Dropout", ["x", "ratio", "mode"], ["x1"])]
    return classifier(front, ratio=np.float32(ratio), mode=np.array(True))


@pytest.mark.parametrize("model", [_normalising(training_mode=1), _dropping(0.5)])
def test_an_export_in_training_mode_is_told_for_what_it_is(tmp_path: Path, model: onnx.ModelProto) -> None:
    with pytest.raises(TeacherRefusedError, match="exported in training mode") as caught:
        opened(model, tmp_path)
    assert "model.eval()" in caught.value.remedy


def test_dropout_that_drops_nothing_is_no_training(tmp_path: Path) -> None:
    images = torch.rand(3, 3, 8, 8)
    assert torch.allclose(opened(_dropping(0.0), tmp_path).network(images), answers(classifier(), images), atol=1e-4)
