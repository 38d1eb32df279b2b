"""The BatchNorm layers of a graph stay layers with statistics: image sources and activation bounds live on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import nn

from abd_app.distill.observe import batchnorm_distances, tracked_batchnorms
from abd_app.intake import open_teacher
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
    def model(**attributes: int) -> onnx.ModelProto:
        front = [helper.make_node("BatchNormalization", ["x", "gamma", "beta", "mu", "var"], ["x1"], **attributes)]
        constants = {"gamma": [1, 2, 3], "beta": [0, 1, 0], "mu": [0.4, 0.5, 0.6], "var": [0.1, 0.2, 0.3]}
        return classifier(front, **{name: np.array(values, np.float32) for name, values in constants.items()})

    images = torch.rand(3, 3, 8, 8)
    teacher = opened(model(training_mode=0), tmp_path)
    assert torch.allclose(teacher.network(images), answers(model(), images), atol=1e-4)
