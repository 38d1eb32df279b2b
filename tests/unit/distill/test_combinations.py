"""Every source with every defence on teachers of all kinds: a few steps that learn, or a refusal before the start."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from abd_app.audit.choices import choose_method
from abd_app.distill import assemble as assembling
from abd_app.distill import loop
from abd_app.distill.assemble import assemble
from abd_app.distill.compute.device import Compute
from abd_app.distill.defences import vaccine
from abd_app.distill.recipe import Recipe, choose_recipe
from abd_app.distill.sources import cmi, zskt
from abd_app.distill.sources.cmi import CmiSettings, ContrastiveInversionSource
from abd_app.distill.sources.fast import FastSettings
from abd_app.distill.sources.generators import PixelGenerator, ZsktGenerator
from abd_app.distill.sources.ood import BalancedPatchSource, PatchSettings
from abd_app.distill.sources.patches import PatchSource
from abd_app.distill.sources.zskt import AdversarialSource
from abd_app.distill.unlearning import margins
from abd_app.errors import UsageError
from abd_app.events import StepDone, VaccineChecked
from abd_app.networks.pixels import PixelNetwork
from abd_app.plan import DEFENSES, METHODS
from abd_app.teacher import ImageSpec, Teacher, TeacherCard
from tests.short_unlearning import SHORT_UNLEARNING, shorten_searches

SOURCES = [method for method in METHODS if method != "auto"]
INVERTING = {"cmi", "fast"}
PUBLISHED = ["cmi", "ood", "zskt"]
KINDS = list(itertools.product((1, 3), (2, 1000), (True, False), (16, 64)))
STEPS = 3
_FAST = FastSettings(drawn=8, first=16, inverted=4, inversion_steps=2, student_steps=2, capacity=32)
_CMI = CmiSettings(drawn=8, noise=8, features=16, bank=32, capacity=32)
_PATCHES = PatchSettings(drawn=8, first=16, capacity=32)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small generators, batches, pools and searches, ready-made pictures, and a vaccine that is always accepted."""
    monkeypatch.setattr(zskt, "ZsktGenerator", functools.partial(ZsktGenerator, features=4))
    monkeypatch.setattr(cmi, "PixelGenerator", lambda *shape, **kind: PixelGenerator(*shape, **_narrow(kind)))
    monkeypatch.setattr(assembling, "procedural_pictures", _pictures)
    for source in (
        AdversarialSource,
        BalancedPatchSource,
        ContrastiveInversionSource,
        PatchSource,
    ):
        monkeypatch.setattr(source, "sample", _few(source.sample))
    shorten_searches(monkeypatch)
    monkeypatch.setattr(vaccine, "CHECK_IMAGES", 48)
    monkeypatch.setattr(loop, "REPORT_EVERY", 1)
    monkeypatch.setattr(vaccine, "tail_ratio", lambda divergence: 0.5)
    monkeypatch.setattr(margins, "SIGNIFICANT", 1.1)  # of a random network's classes none stands out


def _few(sample: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    return lambda source, count: sample(source, min(count, 16))


def _narrow(kind: dict[str, object]) -> dict[str, object]:
    return kind | {"features": 4}


def _pictures(*, channels: int, seed: int, smallest_px: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2, channels, 2 * smallest_px, 2 * smallest_px), dtype=torch.uint8, generator=random)


def _teacher(channels: int, classes: int, batchnorm: bool, side: int) -> Teacher:
    """A random CNN of three convolutions that has seen noise, so that its statistics are not the initial ones."""
    torch.manual_seed(channels + classes)
    layers: list[nn.Module] = []
    for before, after in ((channels, 8), (8, 8), (8, 16)):
        layers.append(nn.Conv2d(before, after, 3, stride=2, padding=1))
        layers += [nn.BatchNorm2d(after)] if batchnorm else []
        layers.append(nn.ReLU())
    body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes))
    spec = ImageSpec(side, side, channels, classes, (0.4,) * channels, (0.3,) * channels)
    network = PixelNetwork(body, mean=spec.mean, std=spec.std)
    network.train()(torch.rand(16, channels, side, side))
    count = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    card = TeacherCard(
        "t.pth", "00", 1, "PyTorch", None, classes, channels, (side, side), spec.mean, spec.std, "logits", 1, count
    )
    return Teacher(network.eval().requires_grad_(False), spec, card)


def _assert_it_learns(teacher: Teacher, recipe: Recipe) -> None:
    """All steps are taken, every loss is finite, the named defences act, and the student's weights have moved."""
    compute = Compute(torch.device("cpu"), bf16=False)
    short = {"fast": _FAST, "cmi": _CMI, "patches": _PATCHES}
    run = assemble(teacher, recipe, student_name="wrn-10-1", compute=compute, seed=0, **short)
    before = {name: value.detach().clone() for name, value in run.student.network.named_parameters()}
    events = list(run.run())
    steps = [event for event in events if isinstance(event, StepDone)]
    losses = {name: value for step in steps for name, value in step.losses.items()}
    assert steps[-1].step == STEPS
    assert all(math.isfinite(value) for step in steps for value in step.losses.values())
    assert "distillation" in losses
    assert ("retrospection" in losses) == (recipe.retrospection == "paper")
    assert ("unlearning" in losses) == (recipe.retrospection == "teacher")
    assert any(isinstance(event, VaccineChecked) for event in events) == (recipe.vaccine != "none")
    assert ("vaccine" in losses) == (recipe.vaccine == "mean" and recipe.method in ("zskt", "cmi"))
    after = dict(run.student.network.named_parameters())
    assert all(torch.isfinite(value).all() for value in after.values())
    assert not torch.equal(before["network.fc.weight"], after["network.fc.weight"])
    assert not torch.equal(before["network.conv1.weight"], after["network.conv1.weight"])


def _recipe(source: str, defense: str, effort: str) -> Recipe:
    recipe = choose_recipe(source, defense, effort, STEPS)
    short = replace(SHORT_UNLEARNING, search_steps=1, patches=16, drawn=4, inversion_steps=2, steps=1)
    return replace(recipe, batch_size=8, unlearning=short, epoch=(1, 2), vaccine_step=0, retrospection_step=STEPS - 1)


@pytest.mark.parametrize(("channels", "classes", "batchnorm", "side"), KINDS)
@pytest.mark.parametrize("defense", DEFENSES)
@pytest.mark.parametrize("source", SOURCES)
def test_a_source_learns_from_a_teacher_or_refuses_it(
    source: str, defense: str, channels: int, classes: int, batchnorm: bool, side: int
) -> None:
    teacher = _teacher(channels, classes, batchnorm, side)
    if source in INVERTING and not batchnorm:
        with pytest.raises(UsageError, match=source) as refused:
            choose_method(source, teacher.card, "cpu")
        assert "BatchNorm" in refused.value.why and refused.value.remedy
        return
    assert choose_method(source, teacher.card, "cpu") == (source, "as you asked")
    _assert_it_learns(teacher, _recipe(source, defense, "quick"))


@pytest.mark.parametrize(
    ("source", "kind"),
    [(source, kind) for source in PUBLISHED for kind in KINDS if kind[3] == 16 and (kind[2] or source != "cmi")],
)
def test_paper_mode_learns_from_every_teacher_too(source: str, kind: tuple[int, int, bool, int]) -> None:
    _assert_it_learns(_teacher(*kind), _recipe(source, "abd", "paper"))


@pytest.mark.parametrize("batchnorm", [True, False])
def test_auto_takes_a_source_that_does_not_refuse_and_says_why(batchnorm: bool) -> None:
    teacher = _teacher(3, 2, batchnorm, 16)
    method, reason = choose_method("auto", teacher.card, "cuda")
    assert (method in INVERTING) == batchnorm
    assert ("statistics of the teacher's 3 BatchNorm layers" if batchnorm else "no BatchNorm statistics") in reason
    assert choose_method(method, teacher.card, "cuda")[0] == method
