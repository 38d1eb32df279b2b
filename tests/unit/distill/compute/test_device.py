"""Device and precision: what is asked for is what is used."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from abd_app.distill.compute.device import Compute, choose_compute, device_name
from abd_app.errors import UsageError


def test_precision_reaches_the_matrix_work() -> None:
    layer, inputs = nn.Linear(4, 4), torch.rand(2, 4)
    for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        compute = choose_compute("cpu", precision)
        assert compute.precision == precision
        with compute.autocast():
            assert layer(inputs).dtype == dtype


def test_cuda_without_a_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="No CUDA device") as caught:
        choose_compute("cuda", "auto")
    assert "--device" in caught.value.where
    assert choose_compute("auto", "fp32").device.type == "cpu"


def test_images_and_networks_lie_channels_last(compute: Compute) -> None:
    network = compute.place(nn.Conv2d(3, 4, 3))
    assert network.weight.is_contiguous(memory_format=torch.channels_last)
    assert compute.images(torch.rand(2, 3, 4, 4)).is_contiguous(memory_format=torch.channels_last)


def test_the_cpu_is_named_with_its_threads() -> None:
    before = torch.get_num_threads()
    try:
        for threads, name in ((1, "CPU, 1 thread"), (2, "CPU, 2 threads")):
            torch.set_num_threads(threads)
            assert device_name(torch.device("cpu")) == name
    finally:
        torch.set_num_threads(before)
