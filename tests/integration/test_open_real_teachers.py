"""Teachers that were trained and saved elsewhere open, agree across formats and are as accurate as stated."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from abd_app.errors import MissingFactsError
from abd_app.intake import inspect_teacher, open_teacher
from abd_app.plan import TeacherFacts
from abd_app.teacher import Teacher

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
TEACHERS = DATA / "teachers"
FILES = sorted(path.name for path in TEACHERS.glob("cifar10_*")) if TEACHERS.is_dir() else []
FORMATS = {".pth": "PyTorch", ".safetensors": "safetensors", ".onnx": "ONNX"}

pytestmark = pytest.mark.skipif(not FILES, reason="the real teachers are not on this machine")


def _facts(name: str) -> TeacherFacts:
    if name.endswith(".onnx"):
        return TeacherFacts()
    side = 16 if "16px" in name else 32
    return TeacherFacts(input_size=(side, side), mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.201))


def _open(name: str) -> Teacher:
    return open_teacher(str(TEACHERS / name), _facts(name))


@pytest.mark.parametrize("name", FILES)
def test_every_teacher_opens_and_answers(name: str) -> None:
    teacher = _open(name)
    side = 16 if "16px" in name else 32
    assert teacher.card.format == FORMATS[Path(name).suffix]
    assert (teacher.spec.height, teacher.spec.width, teacher.spec.channels, teacher.spec.num_classes) == (
        side,
        side,
        3,
        10,
    )
    if not name.endswith(".onnx"):
        assert teacher.card.architecture == ("wrn-16-2" if "16_2" in name else "wrn-16-1")
        assert teacher.card.batchnorm_layers == 13
        assert teacher.block_names == ("network.block1", "network.block2", "network.block3")
    images = torch.rand(4, 3, side, side, requires_grad=True)
    logits = teacher.network(images)
    logits.sum().backward()
    assert logits.shape == (4, 10)
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    assert not teacher.network.training


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith(".onnx")])
def test_weights_files_ask_for_what_they_do_not_say(name: str) -> None:
    card = inspect_teacher(str(TEACHERS / name), TeacherFacts())
    assert {question.fact for question in card.questions} == {"input_size", "mean_std"}
    with pytest.raises(MissingFactsError) as caught:
        open_teacher(str(TEACHERS / name), TeacherFacts())
    assert "--mean 0.4914,0.4822,0.4465 --std 0.2023,0.1994,0.201" in caught.value.remedy
    assert "--size 32x32" in caught.value.remedy


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".onnx")])
def test_onnx_teachers_say_everything_themselves(name: str) -> None:
    card = inspect_teacher(str(TEACHERS / name), TeacherFacts())
    assert card.questions == ()
    assert (card.mean, card.std) == ((0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize(
    "names",
    [
        ("cifar10_wrn16_2_a.pth", "cifar10_wrn16_2_a.safetensors", "cifar10_wrn16_2_a.onnx"),
        ("cifar10_16px_wrn16_1_c.pth", "cifar10_16px_wrn16_1_c.onnx"),
    ],
)
def test_formats_of_one_teacher_agree(names: tuple[str, ...]) -> None:
    first, *others = (_open(name) for name in names)
    images = torch.rand(32, 3, first.spec.height, first.spec.width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = first.network(images)
        for other in others:
            assert (other.network(images) - expected).abs().max() <= 1e-3


def test_accuracy_on_real_images() -> None:
    archive = np.load(DATA / "cifar10_test_jpeg.npz")
    count = 256
    blob, offsets = archive["jpeg"], archive["offsets"]
    pictures = [
        np.asarray(Image.open(io.BytesIO(blob[offsets[i] : offsets[i + 1]].tobytes())).convert("RGB"))
        for i in range(count)
    ]
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    labels = torch.from_numpy(archive["labels"][:count].astype(np.int64))
    with torch.no_grad():
        predicted = _open("cifar10_wrn16_2_a.pth").network(images).argmax(1)
    assert (predicted == labels).float().mean() > 0.75
