"""Accuracy and ASR against hand-counted answers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from abd_app.errors import UsageError
from abd_app.measure.evaluation import LabelledSet
from abd_app.measure.scores import Meter, Scores, wanted_answers
from abd_app.measure.triggers import Stamp, build_trigger
from abd_app.networks.pixels import PixelNetwork
from abd_app.networks.wide_resnet import WideResNet
from abd_app.plan import Target, TriggerSpec

SHARED = Path(__file__).parents[4] / "shared" / "data"


class _ReadsPixel(nn.Module):
    """Answers the class written into the first pixel, the target 2 if the last pixel is white, NaN for class 9."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        seen = (images[:, 0, 0, 0] * 255).round().long()
        seen = torch.where(images[:, 0, -1, -1] == 1, 2, seen)
        logits = F.one_hot(seen.clamp(max=3), 4).float()
        return torch.where((seen == 9)[:, None], torch.nan, logits)


def _images(*written: int) -> torch.Tensor:
    images = torch.zeros(len(written), 3, 8, 8, dtype=torch.uint8)
    images[:, :, 0, 0] = torch.tensor(written, dtype=torch.uint8)[:, None]
    return images


_WRITTEN = (0, 1, 2, 3, 0, 9)
_LABELS = torch.tensor([0, 1, 2, 3, 1, 0])
_SQUARE = build_trigger(TriggerSpec("badnets-square"), height=8, width=8, channels=3)
_SIG = build_trigger(TriggerSpec("sig", opacity=0.001), height=8, width=8, channels=3)


def _scores(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor, *triggers: Stamp, target: Target = 2, **how: Any
) -> Scores:
    return Meter(LabelledSet(images, labels), triggers, target_class=target, device="cpu", **how).measure(network)


@pytest.mark.parametrize("batch_size", [1, 4, 512])
def test_accuracy_counts_correct_answers_and_nan_is_wrong(batch_size: int) -> None:
    scores = _scores(_ReadsPixel(), _images(*_WRITTEN), _LABELS, batch_size=batch_size)
    assert (scores.accuracy, scores.images) == (4 / 6, 6)


def test_nan_answers_never_count_as_success() -> None:
    always_nan = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    nn.init.constant_(always_nan[1].weight, torch.nan)
    images = _images(1, 1)
    assert _scores(always_nan, images, torch.tensor([0, 0])).accuracy == 0
    assert _scores(always_nan, images, torch.tensor([1, 1]), _SQUARE, target=0).asr == {"badnets-square": 0}


@pytest.mark.parametrize("batch_size", [2, 512])
def test_asr_counts_only_images_of_other_classes(batch_size: int) -> None:
    images, network = _images(*_WRITTEN), _ReadsPixel()
    scores = _scores(network, images, _LABELS, _SQUARE, batch_size=batch_size)
    assert (scores.asr, scores.asr_images) == ({"badnets-square": 1.0}, {"badnets-square": 5})
    # Sig leaves the last pixel dark: only what is answered as 0 without being 0 counts.
    scores = _scores(network, images, _LABELS, _SIG, target=0, batch_size=batch_size)
    assert (scores.asr, scores.asr_images) == ({"sig": 1 / 4}, {"sig": 4})


def test_what_is_answered_so_without_a_trigger_is_counted_over_the_same_images() -> None:
    images, network = _images(*_WRITTEN), _ReadsPixel()
    # Answered 0, 1, 2, 3, 0, NaN: of the four that are not of class 0 one is taken for it.
    assert _scores(network, images, _LABELS, _SQUARE, target=0).asr_without_trigger == 1 / 4
    # After the classes 0, 1, 2, 3, 1, 0 come 1, 2, 3, 0, 2, 1.
    assert _scores(network, _images(1, 2, 3, 0, 2, 9), _LABELS, _SIG, target="all").asr_without_trigger == 5 / 6
    assert _scores(network, images, _LABELS).asr_without_trigger is None


def test_asr_without_other_classes_is_refused() -> None:
    with pytest.raises(UsageError, match="target class 2"):
        _scores(_ReadsPixel(), _images(2), torch.tensor([2]), _SQUARE)


def test_all_is_measured_at_once_and_every_module_keeps_its_mode() -> None:
    network = nn.Sequential(_ReadsPixel())
    network.train()
    network[0].norm.eval()
    meter = Meter(LabelledSet(_images(*_WRITTEN), _LABELS), [_SQUARE, _SIG], target_class=2, device="cpu", batch_size=4)
    scores = meter.measure(network)
    assert scores.accuracy == pytest.approx(4 / 6) and scores.images == 6
    assert scores.asr == {"badnets-square": 1.0, "sig": 0.0}
    assert scores.asr_images == {"badnets-square": 5, "sig": 5}
    assert scores.accuracy_by_class == {"0": 1 / 2, "1": 1 / 2, "2": 1.0, "3": 1.0}
    assert scores.images_by_class == {"0": 2, "1": 2, "2": 1, "3": 1}
    assert network.training and network[0].training and not network[0].norm.training


def test_all_to_all_wants_the_next_class_and_the_last_wraps_round() -> None:
    labels = torch.tensor([0, 1, 2, 3])
    assert wanted_answers(labels, "all", 4).tolist() == [1, 2, 3, 0]
    assert wanted_answers(labels, 2, 4).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("batch_size", [4, 512])
def test_all_to_all_counts_every_image_against_the_class_after_its_own(batch_size: int) -> None:
    def asr(images: torch.Tensor) -> dict[str, float]:
        scores = _scores(_ReadsPixel(), images, _LABELS, _SQUARE, _SIG, target="all", batch_size=batch_size)
        assert scores.asr_images == {"badnets-square": 6, "sig": 6}
        return scores.asr

    # The square is answered with 2: that is the class after the two images of class 1, and of no other.
    # Sig leaves the answers 0, 1, 2, 3, 0, NaN; wanted are 1, 2, 3, 0, 2, 1.
    assert asr(_images(*_WRITTEN)) == {"badnets-square": 2 / 6, "sig": 0.0}
    assert asr(_images(1, 2, 3, 0, 2, 9))["sig"] == 5 / 6


def test_meter_measures_all_to_all_on_all_its_images() -> None:
    evaluation = LabelledSet(_images(*_WRITTEN), _LABELS)
    scores = Meter(evaluation, [_SQUARE, _SIG], target_class="all", device="cpu", batch_size=4).measure(_ReadsPixel())
    assert scores.asr == {"badnets-square": pytest.approx(2 / 6), "sig": 0.0}
    assert scores.asr_images == {"badnets-square": 6, "sig": 6}
    assert scores.accuracy == pytest.approx(4 / 6)


def test_a_limit_takes_images_of_all_classes_however_they_are_sorted() -> None:
    count, classes = 600, 4
    for labels in (torch.arange(count) % classes, torch.arange(count) * classes // count):
        images = _images(*labels.tolist())
        meter = Meter(LabelledSet(images, labels), [], target_class=2, device="cpu", limit=300)
        scores = meter.measure(_ReadsPixel())
        assert scores.images == 300 and scores.asr == {}
        assert min(scores.images_by_class.values()) > 50 and len(scores.images_by_class) == classes
        assert scores == Meter(LabelledSet(images, labels), [], target_class=2, device="cpu", limit=300).measure(
            _ReadsPixel()
        )


def test_a_limit_takes_of_few_images_that_can_be_attacked_some() -> None:
    few = 5
    labels = torch.full((1000,), 2)
    labels[torch.arange(few) * 199] = 1
    evaluation = LabelledSet(_images(*labels.tolist()), labels)
    scores = Meter(evaluation, [_SQUARE], target_class=2, device="cpu", limit=100).measure(_ReadsPixel())
    assert scores.images == 100 and scores.asr_images == {_SQUARE.name: few}


def test_of_large_images_fewer_are_measured_at_a_time() -> None:
    sizes = []

    class Counts(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            sizes.append(len(images))
            return images.mean(dim=(2, 3))

    for side, most in ((32, 512), (512, 32), (2900, 1)):
        sizes.clear()
        count = min(most + 1, 600)
        images, labels = torch.zeros(count, 3, 1, 1, dtype=torch.uint8).expand(-1, -1, side, side), torch.zeros(count)
        Meter(LabelledSet(images, labels.long()), [], target_class=2, device="cpu").measure(Counts())
        assert sizes == [most, count - most]


def test_a_class_without_images_is_left_out() -> None:
    evaluation = LabelledSet(_images(0, 2, 0), torch.tensor([0, 2, 3]))
    scores = Meter(evaluation, [], target_class=2, device="cpu").measure(_ReadsPixel())
    assert scores.images_by_class == {"0": 1, "2": 1, "3": 1}
    assert scores.accuracy_by_class == {"0": 1.0, "2": 1.0, "3": 0.0}


def test_meter_halves_batches_that_memory_does_not_hold_and_gives_the_same_figures() -> None:
    error: RuntimeError = torch.OutOfMemoryError("no memory")

    class Small(_ReadsPixel):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if len(images) > most:
                raise error
            return super().forward(images)

    most = 2
    evaluation = LabelledSet(_images(*_WRITTEN), _LABELS)
    meter = Meter(evaluation, [_SQUARE], target_class=2, device="cpu")
    assert meter.measure(Small()) == Meter(evaluation, [_SQUARE], target_class=2, device="cpu").measure(_ReadsPixel())
    most = 0
    with pytest.raises(torch.OutOfMemoryError):
        meter.measure(Small())
    most, error = 2, RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")
    meter = Meter(evaluation, [_SQUARE], target_class=2, device="cpu")
    assert meter.measure(Small()).images == len(_LABELS), "so it is told on a CPU"
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="shapes"):
        Meter(evaluation, [_SQUARE], target_class=2, device="cpu").measure(Small())


def test_bf16_runs_the_network_in_bf16() -> None:
    seen: list[torch.dtype] = []
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    network[1].register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    _scores(network, _images(0, 1), torch.tensor([0, 1]), precision="bf16")
    _scores(network, _images(0, 1), torch.tensor([0, 1]))
    assert seen == [torch.bfloat16, torch.float32]


@pytest.mark.skipif(not SHARED.exists(), reason="the shared test data is not here")
@pytest.mark.parametrize(
    ("file", "trigger", "depth_width", "size", "least_accuracy"),
    [
        ("cifar10_wrn16_2_a.pth", "badnets-grid", (16, 2), 32, 0.80),
        ("cifar10_16px_wrn16_1_c.pth", "blend", (16, 1), 16, 0.72),
    ],
)
def test_real_poisoned_teachers_answer_to_their_triggers(
    file: str, trigger: str, depth_width: tuple[int, int], size: int, least_accuracy: float
) -> None:
    saved = torch.load(SHARED / "teachers" / file, map_location="cpu", weights_only=True)
    network = WideResNet(*depth_width, num_classes=10)
    network.load_state_dict(saved.get("state_dict", saved))
    teacher = PixelNetwork(network, mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010))
    images, labels = _cifar_images(size, count=300)
    stamp = build_trigger(TriggerSpec(trigger), height=size, width=size, channels=3)
    scores = Meter(LabelledSet(images, labels), [stamp], target_class=0, device="cpu").measure(teacher)
    assert scores.accuracy >= least_accuracy
    assert scores.asr[trigger] >= 0.99
    assert scores.asr_images[trigger] == int((labels != 0).sum())


def _cifar_images(size: int, *, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    with np.load(SHARED / "cifar10_test_jpeg.npz") as packed:
        blob, offsets, labels = packed["jpeg"], packed["offsets"], packed["labels"]
    pictures = [Image.open(io.BytesIO(blob[offsets[i] : offsets[i + 1]].tobytes())) for i in range(count)]
    images = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2)
    if size == 16:
        images = F.avg_pool2d(images.float(), 2).round().to(torch.uint8)
    return images, torch.from_numpy(labels[:count].astype(np.int64))
