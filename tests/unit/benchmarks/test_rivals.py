"""The rivals of the tables: pruning by hand-computed bounds, and plain distillation that learns."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from cifar10 import MEAN, STD, facts_of, print_rows
from rivals.clp import channel_bounds, normalised_convolutions, prune_channels
from rivals.plain_kd import RECIPE, distil_on_images

from abd_app.distill.compute.device import Compute
from abd_app.networks.pixels import PixelNetwork
from abd_app.networks.wide_resnet import WideResNet
from abd_app.teacher import ImageSpec, Teacher, TeacherCard

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def _layer(channels: int, *, variance: float = 1.0, eps: float = 0.0) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels, eps=eps)
    assert layer.running_var is not None
    layer.running_var.fill_(variance)
    return layer


def test_a_channels_bound_is_its_largest_singular_value_times_its_scale() -> None:
    convolution, layer = nn.Conv2d(2, 2, (1, 2)), _layer(2, variance=3.0, eps=1.0)
    convolution.weight.data[0] = torch.tensor([[3.0, 0.0], [0.0, 4.0]]).view(2, 1, 2)
    convolution.weight.data[1] = torch.tensor([[1.0, 1.0], [1.0, 1.0]]).view(2, 1, 2)
    layer.weight.data = torch.tensor([-2.0, 5.0])
    # Singular values 4 and 3; 2 and 0. Scales |-2| / sqrt(3 + 1) = 1 and 5 / 2.
    assert channel_bounds(convolution, layer).tolist() == pytest.approx([4.0, 5.0])


def _outlier_network(strength: float) -> nn.Sequential:
    network = nn.Sequential(nn.Conv2d(1, 16, 1), _layer(16)).eval()
    network[0].weight.data.fill_(1.0)
    network[0].weight.data[5] = strength
    network[1].bias.data.fill_(0.5)
    return network


def test_a_channel_beyond_mean_and_three_deviations_is_silenced_and_no_other() -> None:
    """One of sixteen that differs lies (n - 1) / sqrt(n) = 3.75 deviations out, however strong it is."""
    network, example = _outlier_network(10.0), torch.rand(2, 1, 4, 4)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pruned, (layer,) = prune_channels(network, example, u=3.0)
    assert (layer.name, layer.channels, layer.pruned) == ("1", 16, 1)
    assert pruned[1].weight.tolist() == [1.0] * 5 + [0.0] + [1.0] * 10
    assert pruned[1].bias.tolist() == [0.5] * 5 + [0.0] + [0.5] * 10
    assert (pruned(example)[:, 5] == 0).all() and (pruned(example)[:, 6] == network(example)[:, 6]).all()
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert prune_channels(network, example, u=3.8)[1][0].pruned == 0
    assert prune_channels(_outlier_network(0.1), example)[1][0].pruned == 0, "weak channels stay"


def test_in_a_preactivation_network_only_direct_readers_are_paired() -> None:
    network = WideResNet(16, 1, num_classes=4).eval()
    pairs = dict(normalised_convolutions(network, torch.rand(2, 3, 8, 8)))
    assert pairs["block1.layer.0.bn1"] == "conv1"
    assert pairs["block3.layer.1.bn2"] == "block3.layer.1.conv1"
    assert "block2.layer.0.bn1" not in pairs and "bn1" not in pairs, "they read sums"
    assert len(pairs) == 1 + 6
    assert sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules()) == 0


def _teacher() -> Teacher:
    torch.manual_seed(0)
    body = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(12, 3))
    body[2].weight.data.mul_(30)
    body[2].bias.data.copy_(-0.5 * body[2].weight.sum(1))
    network = PixelNetwork(body, mean=(0.0,) * 3, std=(1.0,) * 3).eval().requires_grad_(False)
    spec = ImageSpec(8, 8, 3, 3, (0.0,) * 3, (1.0,) * 3)
    return Teacher(network, spec, TeacherCard("t", "00", 1, "", None, 3, 3, (8, 8), None, None, "logits", 1, 0))


def test_plain_distillation_learns_the_teachers_answers_and_repeats() -> None:
    teacher, compute = _teacher(), Compute(torch.device("cpu"), bf16=False)
    colours = torch.rand(64, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    images = (nn.functional.interpolate(colours, size=(8, 8)) * 255).to(torch.uint8)
    answers = teacher.network(images.float() / 255).argmax(1)
    kept = {"student_name": "wrn-10-1", "compute": compute, "seed": 0}
    none, some, again = (distil_on_images(teacher, images, steps=steps, **kept) for steps in (0, 40, 40))
    agreement = [float((network(images.float() / 255).argmax(1) == answers).float().mean()) for network in (none, some)]
    assert agreement[1] > max(0.6, agreement[0] + 0.1)
    assert not some.training
    assert all(
        torch.equal(one, other)
        for one, other in zip(some.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_plain_distillation_has_no_defence() -> None:
    assert RECIPE.undefended() == RECIPE


def _command() -> ModuleType:
    # Its name is that of the package beside it, so that an import statement finds the package.
    spec = importlib.util.spec_from_file_location("rivals_command", BENCHMARKS / "rivals.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("given", "attacked"), [([], 4), (["--target", "1"], 5), (["--target", "all"], 6)])
def test_targets_are_those_of_the_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], attacked: int
) -> None:
    images = np.zeros((6, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.array([0, 0, 1, 2, 2, 2]))
    required = ["--teacher", "t.pth", "--images", str(tmp_path / "images.npz"), "--trigger", "badnets-grid"]
    monkeypatch.setattr(sys, "argv", ["rivals.py", *required, "--size", "8", *given])
    command, teacher = _command(), _teacher()
    meter = command._meter(command._options(), teacher, torch.device("cpu"))
    assert meter.measure(teacher.network).asr_images == {"badnets-grid": attacked}


def test_the_bounded_and_the_purified_teacher_have_rows_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(2)
    network = WideResNet(10, 1, num_classes=4)
    network.train()(torch.randn(64, 3, 8, 8))
    torch.save(network.state_dict(), tmp_path / "t.pth")
    images = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(200) % 4)
    files = ["--teacher", str(tmp_path / "t.pth"), "--images", str(tmp_path / "images.npz"), "--size", "8"]
    monkeypatch.setattr(
        sys, "argv", ["rivals.py", *files, "--trigger", "badnets-grid", "--stds", "99", "3", "0.01", "--dhbe", "1"]
    )
    _command().main()
    printed = capsys.readouterr().out.splitlines()
    rows = dict(line[2:].split(" |", 1) for line in printed if line.startswith("| "))
    assert rows["teacher"] == rows["bounds, 99 std"] != rows["bounds, 0.01 std"]
    assert rows["DHBE, rounds = 1"] != rows["teacher"]
    target = json.loads(printed[-1])["target"]
    assert target["class"] is None and target["p"] > 0.05, "no class of a random network stands out"
    assert rows["purified"] == rows["bounds, 3 std"]


def test_a_file_that_states_its_facts_is_believed(tmp_path: Path) -> None:
    bare, stating = str(tmp_path / "bare.pth"), str(tmp_path / "stating.pth")
    weights = WideResNet(10, 1, num_classes=4).state_dict()
    torch.save(weights, bare)
    torch.save({"state_dict": weights, "input_size": [8, 8], "mean": [0.4] * 3, "std": [0.3] * 3}, stating)
    assert (facts_of(bare, 8).mean, facts_of(bare, 8).std) == (MEAN, STD)
    assert facts_of(stating, 8).mean is None


def test_rows_are_those_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([("teacher", 0.7712, {"blend": 1.0, "sig": 0.0312})], ["sig", "blend"])
    assert capsys.readouterr().out.splitlines() == [
        "| Model | Accuracy | ASR sig | ASR blend |",
        "|---|---|---|---|",
        "| teacher | 77.1 | 3.1 | 100.0 |",
    ]
