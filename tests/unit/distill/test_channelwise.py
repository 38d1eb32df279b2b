"""Arithmetic by channel against PyTorch's own, with its gradient."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from abd_app.distill.batchnorm import StoredBatchNorm
from abd_app.distill.channelwise import clamped, scaled

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=needs_gpu)]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
PRECISIONS = [torch.float32, torch.bfloat16]


def _activations(device: str, layout: torch.memory_format, precision: torch.dtype) -> torch.Tensor:
    drawn = torch.randn(6, 5, 4, 3, generator=torch.Generator().manual_seed(0))
    return drawn.to(device, precision, memory_format=layout).requires_grad_()


def _of_channels(device: str, seed: int) -> torch.Tensor:
    return torch.randn(5, generator=torch.Generator().manual_seed(seed)).to(device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_channel_is_cut_to_its_range(device: str, layout: torch.memory_format, precision: torch.dtype) -> None:
    activations = _activations(device, layout, precision)
    low = _of_channels(device, 1).to(precision) - 0.3
    high = low + 0.6
    cut = clamped(activations, low, high)
    plain = activations.clamp(low[:, None, None], high[:, None, None])
    assert cut.dtype == precision and cut.stride() == activations.stride()
    assert torch.equal(cut, plain)
    slope = torch.randn_like(cut)
    (gradient,) = torch.autograd.grad(cut, activations, slope)
    inside = activations.detach() == plain.detach()
    assert 0.1 < inside.float().mean() < 0.9
    assert torch.equal(gradient, slope * inside)
    with torch.no_grad():
        assert torch.equal(clamped(activations, low, high), plain)


def test_what_lies_on_a_bound_has_its_gradient() -> None:
    activations = torch.tensor([-2.0, -1.0, 0.0, 1.0, 1.0000001]).view(1, 1, 1, 5).requires_grad_()
    cut = clamped(activations, torch.tensor([-1.0]), torch.tensor([1.0]))
    (gradient,) = torch.autograd.grad(cut.sum(), activations)
    assert gradient.flatten().tolist() == [0, 1, 1, 1, 0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("precision", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize("shifted", [True, False])
def test_every_channel_is_scaled_and_shifted(
    device: str, layout: torch.memory_format, precision: torch.dtype, error: float, shifted: bool
) -> None:
    activations = _activations(device, layout, precision).detach()
    scale, shift = _of_channels(device, 1), _of_channels(device, 2) if shifted else None
    found = scaled(activations, scale, shift)
    expected = activations.double() * scale[:, None, None] + (0 if shift is None else shift[:, None, None])
    assert found.dtype == precision and found.stride() == activations.stride()
    assert (found - expected).abs().max() < error * expected.abs().max()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("precision", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize("affine", [True, False])
def test_batchnorm_by_stored_statistics(device: str, precision: torch.dtype, error: float, affine: bool) -> None:
    layer = nn.BatchNorm2d(5, affine=affine).to(device).eval()
    assert layer.running_mean is not None and layer.running_var is not None
    layer.running_mean.copy_(_of_channels(device, 3))
    layer.running_var.copy_(_of_channels(device, 4).exp())
    for seed, parameter in enumerate(layer.parameters()):
        parameter.data.copy_(_of_channels(device, seed))
    activations = _activations(device, torch.channels_last, precision)
    plain = layer(activations)
    slope = torch.randn_like(plain)
    (expected,) = torch.autograd.grad(plain, activations, slope)
    with StoredBatchNorm():
        found = layer(activations)
    (gradient,) = torch.autograd.grad(found, activations, slope)
    assert torch.equal(found, plain)
    assert gradient.dtype == precision and gradient.stride() == activations.stride()
    assert (gradient - expected).abs().max() < error * expected.abs().max()


@pytest.mark.parametrize("device", DEVICES)
def test_batchnorm_in_training_is_left_alone(device: str) -> None:
    layer, images = nn.BatchNorm2d(5).to(device), _activations(device, torch.channels_last, torch.float32)
    assert layer.running_mean is not None
    before = layer.running_mean.clone()
    with StoredBatchNorm():
        layer(images).square().sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().sum() > 0
    assert not torch.equal(layer.running_mean, before)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 7)])
def test_activations_need_not_be_images(device: str, precision: torch.dtype, shape: tuple[int, ...]) -> None:
    activations = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device, precision)
    low = _of_channels(device, 1).to(precision) - 1
    plain = activations.clamp(low.view(5, *[1] * (len(shape) - 2)), (low + 2).view(5, *[1] * (len(shape) - 2)))
    assert torch.equal(clamped(activations.requires_grad_(), low, low + 2), plain)
