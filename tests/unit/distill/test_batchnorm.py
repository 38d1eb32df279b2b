"""BatchNorm in closed form against PyTorch's own first and second derivatives."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from abd_app.distill.batchnorm import ClosedFormBatchNorm


def _network() -> nn.Module:
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Softplus(),
        nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5), nn.Softplus(), nn.Flatten(), nn.Linear(5 * 16, 3),
    ).double()  # fmt: skip
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    return network


def _derivatives(network: nn.Module, closed: bool) -> list[torch.Tensor]:
    """Output, slope by an added picture, and the slope's derivatives by the picture and all parameters."""
    torch.manual_seed(4)
    images, point = torch.rand(8, 3, 6, 6).double(), torch.randn(1, 3, 6, 6).double().requires_grad_()
    with ClosedFormBatchNorm() if closed else contextlib.nullcontext():
        output = network(images + point)
    (slope,) = torch.autograd.grad(output.log_softmax(1)[:, 0].square().mean(), point, create_graph=True)
    inputs = [point, *network.parameters()]
    second = torch.autograd.grad(slope, inputs, torch.randn_like(slope), materialize_grads=True)
    return [output, slope, *second]


@pytest.mark.parametrize("training", [True, False])
def test_all_derivatives_are_those_of_pytorch(training: bool) -> None:
    ours, theirs = _network().train(training), _network().train(training)
    found, expected = _derivatives(ours, closed=True), _derivatives(theirs, closed=False)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-10)
    assert max(float(one.detach().abs().max()) for one in found[2:]) > 0.1
    assert all(torch.allclose(a, b) for a, b in zip(ours.buffers(), theirs.buffers(), strict=True))
