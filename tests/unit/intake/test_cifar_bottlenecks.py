"""ResNets with bottlenecks and the stem for small images, in the names of public scripts and in torchvision's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from abd_app.intake import open_teacher
from abd_app.plan import TeacherFacts

Save = Callable[..., str]

FACTS = TeacherFacts(input_size=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class _Bottleneck(nn.Module):
    def __init__(self, entering: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(entering, planes, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or entering != 4 * planes:
            convolution = nn.Conv2d(entering, 4 * planes, kernel_size=1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(4 * planes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(out)))
        return torch.relu(self.bn3(self.conv3(out)) + self.shortcut(x))


class _ResNet(nn.Module):
    """As it is written in public training scripts for CIFAR-10."""

    def __init__(self, blocks: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        entering = 64
        for stage, planes in enumerate((64, 128, 256, 512)):
            layer = nn.Sequential()
            for block in range(blocks[stage]):
                layer.append(_Bottleneck(entering, planes, 2 if block == 0 and stage > 0 else 1))
                entering = 4 * planes
            setattr(self, f"layer{stage + 1}", layer)
        self.linear = nn.Linear(2048, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        for stage in (1, 2, 3, 4):
            out = self.get_submodule(f"layer{stage}")(out)
        out = F.avg_pool2d(out, out.shape[-1]).flatten(1)
        answer: torch.Tensor = self.linear(out)
        return answer


def _with_statistics(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.75, 1.25, generator=generator)
    return network.eval()


@pytest.mark.parametrize("depth", [50, 101, 152])
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_public_scripts_bottlenecks_open_with_equal_answers(saved: Save, depth: int, wrapped: bool) -> None:
    blocks = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}[depth]
    network = _with_statistics(_ResNet(blocks, 5))
    state = network.state_dict()
    content = {"net": {f"module.{name}": value for name, value in state.items()}, "acc": 95.1, "epoch": 3}
    teacher = open_teacher(saved(content if wrapped else state), FACTS)
    assert teacher.card.architecture == f"resnet{depth}-cifar-bottleneck"
    assert not [finding for finding in teacher.card.findings if finding.severity == "warning"]
    assert torch.allclose(teacher.network(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-4)


def test_torchvisions_names_with_a_stem_for_small_images_open_with_a_warning(saved: Save) -> None:
    network = torchvision.models.resnet50(num_classes=5)
    network.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    network.maxpool = nn.Identity()
    teacher = open_teacher(saved(_with_statistics(network).state_dict()), FACTS)
    assert teacher.card.architecture == "resnet50-cifar-bottleneck"
    assert [one.title for one in teacher.card.findings if one.severity == "warning"] == [
        "Read as resnet50-cifar-bottleneck"
    ]
    assert torch.allclose(teacher.network(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-4)


def test_a_network_of_three_stages_keeps_its_name(saved: Save) -> None:
    from abd_app.networks import catalog

    teacher = open_teacher(saved(catalog.build("resnet50-cifar", 5).state_dict()), FACTS)
    assert teacher.card.architecture == "resnet50-cifar"
