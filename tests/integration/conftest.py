"""Small real runs that several tests look at."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abd_app.audit import learning, opening, run_audit
from abd_app.demo import demo_plan
from abd_app.distill import assemble
from abd_app.distill.defences import vaccine
from abd_app.distill.recipe import Recipe, choose_recipe
from abd_app.distill.sources import pictures
from abd_app.distill.sources.fast import FastSettings
from abd_app.distill.sources.ood import PatchSettings
from abd_app.distill.unlearning import all_to_all, bending
from abd_app.events import Event
from abd_app.networks.wide_resnet import WideResNet
from abd_app.plan import AuditPlan, TeacherFacts, TriggerSpec
from tests.short_unlearning import SHORT_UNLEARNING, shorten_searches

SHORT = replace(SHORT_UNLEARNING, patches=64, drawn=16, batch_size=8)


@dataclass(frozen=True, kw_only=True)
class _FewPatches(PatchSettings):
    drawn: int = 64


@dataclass(frozen=True, kw_only=True)
class _FewInverted(FastSettings):
    drawn: int = 64


@contextlib.contextmanager
def small_fixed_parts() -> Iterator[None]:
    """Short searches, few images in whatever is drawn, labelled and shown, a checkpoint at every step."""
    with pytest.MonkeyPatch.context() as patch:
        shorten_searches(patch)
        patch.setattr(vaccine, "CHECK_IMAGES", 100)
        patch.setattr(vaccine, "TRIALS", 2)
        patch.setattr(pictures, "PROCEDURAL_PICTURES", 3)
        patch.setattr(assemble, "_FEWEST_PATCHES", 128)  # two passes of the teacher
        patch.setattr(assemble, "PatchSettings", _FewPatches)
        patch.setattr(assemble, "FastSettings", _FewInverted)
        patch.setattr(assemble, "inverted_images", lambda *size: 16)
        patch.setattr(opening, "choose_recipe", _short_recipe)
        patch.setattr(learning, "CHECKPOINT_EVERY_S", -1.0)
        yield


def _short_recipe(*chosen: Any) -> Recipe:
    recipe = choose_recipe(*chosen)
    return replace(recipe, unlearning=SHORT, batch_size=min(recipe.batch_size, 24))


@contextlib.contextmanager
def _real_sizes() -> Iterator[None]:
    """The real numbers of images; short are the vaccine check and what the teacher unlearns alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bending, "STEPS", 2)
        patch.setattr(all_to_all, "STEPS", 50)
        patch.setattr(vaccine, "CHECK_IMAGES", 500)
        patch.setattr(opening, "choose_recipe", lambda *chosen: replace(choose_recipe(*chosen), unlearning=SHORT))
        yield


@pytest.fixture(autouse=True)
def _small(request: pytest.FixtureRequest) -> Iterator[None]:
    with _real_sizes() if request.node.get_closest_marker("real_sizes") else small_fixed_parts():
        yield


@pytest.fixture(scope="session")
def tiny_plan(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AuditPlan]:
    """Plans for an untrained teacher of 8 pixels, each in a new folder: a step takes milliseconds."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    network = WideResNet(10, 1, num_classes=4)
    network.fc.weight.data.mul_(6)
    network.train()(torch.randn(64, 3, 8, 8))
    torch.save(network.state_dict(), folder / "teacher.pth")
    images = np.random.default_rng(0).integers(0, 256, (40, 10, 10, 3), dtype=np.uint8)  # a finding: resized
    np.savez(folder / "images.npz", images=images, labels=np.arange(40) % 4)

    def make(**changes: object) -> AuditPlan:
        plan = AuditPlan(
            teacher_file=str(folder / "teacher.pth"),
            out=str(tmp_path_factory.mktemp("run") / "out"),
            facts=TeacherFacts(input_size=(8, 8), mean=(0.5,) * 3, std=(0.25,) * 3),
            method="ood",
            steps=20,
            device="cpu",
            precision="fp32",
            data=str(folder / "images.npz"),
            triggers=(TriggerSpec("badnets-square"),),
            compare=True,
        )
        return replace(plan, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def whole_run(tiny_plan: Callable[..., AuditPlan]) -> tuple[AuditPlan, list[Event]]:
    """An uninterrupted run with its twin."""
    plan = tiny_plan()
    with small_fixed_parts():
        return plan, list(run_audit(plan))


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    """The demo with far too few steps to be good: it draws, labels and shows as many images as the real one."""
    out = tmp_path_factory.mktemp("demo") / "out"
    plan = replace(demo_plan(str(out)), steps=3, device="cpu", precision="fp32")
    with _real_sizes():
        return out, list(run_audit(plan))
