"""The rival DHBE: what the three players draw, add and learn."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from rivals import dhbe
from rivals.dhbe import BATCH_SIZE, NOISE, PATCH_PX, Drawing, Erasing, _roughness, erased

from abd_app.distill.compute.device import Compute
from abd_app.networks.pixels import PixelNetwork
from abd_app.teacher import ImageSpec, Teacher, TeacherCard

CPU = Compute(torch.device("cpu"), bf16=False)


def _teacher() -> Teacher:
    """It sees colours, and the brightest pixels decide."""
    torch.manual_seed(0)
    eyes = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU())
    body = nn.Sequential(eyes, nn.Conv2d(8, 3, 1), nn.AdaptiveMaxPool2d(1), nn.Flatten())
    spec = ImageSpec(8, 12, 3, 3, (0.4,) * 3, (0.2,) * 3)
    network = PixelNetwork(body, mean=spec.mean, std=spec.std).eval().requires_grad_(False)
    return Teacher(network, spec, TeacherCard("t", "00", 1, "", None, 3, 3, (8, 12), None, None, "logits", 1, 0))


def test_roughness_is_the_norm_of_four_differences() -> None:
    image = torch.tensor([[0.0, 1.0], [3.0, 7.0]]).view(1, 1, 2, 2)
    down, right = (3**2 + 6**2) ** 0.5, (1**2 + 4**2) ** 0.5
    assert _roughness(image).item() == pytest.approx(down + right + 7 + 2)


@pytest.mark.parametrize(("height", "width", "doublings"), [(8, 12, 0), (16, 16, 1), (30, 32, 2)])
def test_a_generator_draws_the_size_that_is_asked_for(height: int, width: int, doublings: int) -> None:
    drawing = Drawing(1, height, width, doublings=doublings, end=[nn.Tanh()])
    drawn = drawing(torch.randn(4, NOISE))
    assert drawn.shape == (4, 1, height, width)
    assert drawn.abs().max() <= 1 and drawn.std() > 0
    assert sum(isinstance(layer, nn.Upsample) for layer in drawing.layers) == doublings


def test_patches_lie_in_one_place_and_are_added_without_clipping() -> None:
    erasing, images = Erasing(_teacher(), CPU, seed=0, rounds=1), torch.full((BATCH_SIZE, 3, 8, 12), 0.9)
    places = set()
    for _ in range(8):
        with torch.no_grad():
            added = erasing._patch(images) - images
        rows, columns = (added.abs().amax(dim=dims).nonzero().flatten() for dims in ((0, 1, 3), (0, 1, 2)))
        assert len(rows) == len(columns) == PATCH_PX, "a box that is the same for the whole batch"
        assert added.abs().max() <= 1 and (images + added).max() > 1
        assert not torch.equal(added[0], added[1]), "each with a patch of its own"
        places.add((int(rows[0]), int(columns[0])))
    assert len(places) > 1


def test_the_copy_learns_to_look_past_patches_that_turn_the_teacher() -> None:
    teacher = _teacher()
    before = {name: value.clone() for name, value in teacher.network.state_dict().items()}
    erasing = Erasing(teacher, CPU, seed=0, rounds=20)
    for _ in range(20):
        erasing.round()
    student = erasing.student.eval()
    with torch.no_grad():
        images = erasing._draw_images()
        patched = erasing._patch(images)
        moved = [float((one(patched) - one(images)).abs().mean()) for one in (student, teacher.network)]
        answers = teacher.network(images)
        apart, spread = (float((one - answers).abs().mean()) for one in (student(images), answers.mean(0)))
    assert 0 < moved[0] < 0.5 * moved[1]
    assert apart < spread, "it is nearer to the teacher than a constant is"
    assert all(torch.equal(value, before[name]) for name, value in teacher.network.state_dict().items())
    assert [one.param_groups[0]["lr"] for one in erasing._optimizers] == pytest.approx([1e-3, 1e-5, 1e-5])


@pytest.mark.parametrize("player", [1, 2], ids=["images", "patches"])
def test_each_generator_climbs_what_the_copy_descends(player: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other players stay as they are; all of it with narrower generators and smaller batches."""
    monkeypatch.setattr(dhbe, "FEATURES", 16)
    monkeypatch.setattr(dhbe, "BATCH_SIZE", 128)
    erasing = Erasing(_teacher(), CPU, seed=0, rounds=100)
    for number, optimizer in enumerate(erasing._optimizers):
        optimizer.param_groups[0]["lr"] = 0.01 if number == player else 0.0
    before = _objective(erasing, player)
    for _ in range(15):
        erasing.round()
    assert _objective(erasing, player) > 1.2 * before


@torch.no_grad()
def _objective(erasing: Erasing, player: int) -> float:
    """How far copy and teacher are apart on new images, or how far new patches move the copy; of four batches."""
    apart = []
    for _ in range(4):
        images = erasing._draw_images()
        other = erasing._teacher(images) if player == 1 else erasing.student(erasing._patch(images))
        apart.append(float((erasing.student(images) - other).abs().mean()))
    return sum(apart) / len(apart)


def test_a_teacher_that_normalises_inside_gets_images_around_grey() -> None:
    teacher = _teacher()
    spec = replace(teacher.spec, mean=(0.0,) * 3, std=(1.0,) * 3)
    erasing = Erasing(replace(teacher, spec=spec), CPU, seed=0, rounds=1)
    with torch.no_grad():
        drawn = erasing._draw_images()
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.02) and float(drawn.std()) == pytest.approx(0.25, abs=0.02)


def test_weights_that_are_no_numbers_are_no_result() -> None:
    teacher = _teacher()
    teacher.network.network[1].weight.data.fill_(torch.nan)
    with pytest.raises(SystemExit, match="no numbers"):
        erased(teacher, CPU, seed=0, rounds=1)


def test_a_run_repeats_and_ends_in_evaluation_mode() -> None:
    one, same, other = (erased(_teacher(), CPU, seed=seed, rounds=1) for seed in (3, 3, 4))
    assert not one.training
    weights = [torch.cat([value.flatten() for value in network.parameters()]) for network in (one, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
