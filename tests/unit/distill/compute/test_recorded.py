"""Passes that a GPU replays give what they give without it; the tests that need one are skipped where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from abd_app.distill.answering import AnsweringTeacher, SecondOpinion
from abd_app.distill.assemble import assemble, build_student
from abd_app.distill.compute import recorded
from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.recorded import WARM_UPS, RecordedPass, small
from abd_app.distill.defences.retrospection import PaperRetrospection
from abd_app.distill.loop import Distillation
from abd_app.distill.observe import _ChannelStatistics
from abd_app.distill.recipe import choose_recipe
from abd_app.distill.sources.fast import FastSettings
from abd_app.distill.sources.ood import PatchSettings
from abd_app.distill.student import Student
from abd_app.distill.unlearning.adversaries import make_adversaries
from abd_app.distill.unlearning.settings import UnlearningSettings
from abd_app.teacher import ImageSpec, Teacher

# Of the few operations that have no deterministic form none is compared.
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have a deterministic implementation:UserWarning")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
STEPS = 40


@pytest.fixture
def gpu() -> Compute:
    return Compute(torch.device("cuda"), False)


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    """Rounding in TF32 and sums in another order each time would hide what is compared: Muon makes much of little."""
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic
    strict = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn.allow_tf32, cudnn.deterministic = False, True
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    cudnn.allow_tf32, cudnn.deterministic = before
    torch.use_deterministic_algorithms(strict[0], warn_only=strict[1])


def _never_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "WARM_UPS", 10**9)


def _distilled(teacher: Teacher, compute: Compute, method: str, defense: str, steps: int = STEPS) -> Distillation:
    recipe = replace(choose_recipe(method, defense, "quick", STEPS), batch_size=8, vaccine_step=0, retrospection="none")
    small: dict[str, Any] = {"drawn": 16, "first": 32, "capacity": 64, "student_steps": 5}
    distillation = assemble(
        teacher,
        recipe,
        student_name="wrn-10-1",
        compute=compute,
        seed=0,
        pictures=torch.randint(256, (2, 3, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)),
        fast=FastSettings(**small, inverted=8, inversion_steps=3),
        patches=PatchSettings(**small),
    )
    events = distillation.run()
    while distillation.step < steps:
        next(events)
    events.close()
    return distillation


def _weights(distillation: Distillation) -> torch.Tensor:
    return torch.cat([one.detach().cpu().flatten() for one in distillation.student.network.parameters()])


def _of_student(recorded_pass: RecordedPass) -> bool:
    return isinstance(getattr(recorded_pass._run, "__self__", None), Student)


def _recordings(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each attempt to record succeeded."""
    outcomes: list[bool] = []
    record = RecordedPass._record

    def noted(self: RecordedPass, inputs: tuple[torch.Tensor, ...]) -> bool:
        outcomes.append(record(self, inputs))
        return outcomes[-1]

    monkeypatch.setattr(RecordedPass, "_record", noted)
    return outcomes


def test_without_a_gpu_a_pass_just_runs(compute: Compute) -> None:
    runs: list[int] = []

    def run(values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        runs.append(1)
        return (2 * values,)

    doubling = RecordedPass(run, compute)
    for _ in range(2 * WARM_UPS + 2):
        assert doubling(torch.ones(3))[0].tolist() == [2, 2, 2]
    assert len(runs) == 2 * WARM_UPS + 2
    assert doubling.replay(torch.ones(3)) is None


@pytest.mark.parametrize("method", ["zskt", "ood"])
def test_the_step_that_is_recorded_is_the_step_that_is_run(
    make_teacher: Callable[..., Teacher], compute: Compute, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    plain = _weights(_distilled(make_teacher(), compute, method, "none", steps=12))
    monkeypatch.setattr(RecordedPass, "replay", lambda self, *inputs: self._run(*inputs))
    assert torch.equal(_weights(_distilled(make_teacher(), compute, method, "none", steps=12)), plain)


def test_a_recording_that_fails_leaves_no_gradient(
    make_teacher: Callable[..., Teacher], compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = _weights(_distilled(make_teacher(), compute, "ood", "none", steps=12))

    def fails(self: RecordedPass, *inputs: torch.Tensor) -> None:
        for parameter in self._run.__self__.network.parameters():  # type: ignore[attr-defined]
            parameter.grad = torch.full_like(parameter, torch.nan)  # as a recording leaves it: nothing was computed

    monkeypatch.setattr(
        RecordedPass, "replay", lambda self, *inputs: fails(self, *inputs) if _of_student(self) else None
    )
    assert torch.equal(_weights(_distilled(make_teacher(), compute, "ood", "none", steps=12)), plain)


@pytest.mark.parametrize(("gibibytes", "most"), [(4, 2**21), (8, 2**21), (24, 3 * 2**21), (80, 2**23)])
def test_how_large_a_pass_is_recorded_depends_on_memory(
    monkeypatch: pytest.MonkeyPatch, gibibytes: int, most: int
) -> None:
    card = SimpleNamespace(total_memory=gibibytes * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    values = SimpleNamespace(is_cuda=True, device=0, numel=lambda: most - 8)
    assert small(values, torch.ones(8)) and not small(values, torch.ones(9))  # type: ignore[arg-type]


@needs_gpu
def test_a_recorded_pass_takes_new_inputs_and_does_what_it_did(gpu: Compute) -> None:
    total = torch.zeros(3, device="cuda")

    def run(values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        total.add_(values)
        return (2 * values,)

    doubling = RecordedPass(run, gpu)
    results = [doubling(torch.full((3,), float(one), device="cuda"))[0].tolist() for one in range(6)]
    assert results == [[2 * one] * 3 for one in range(6)]
    assert total.tolist() == [15, 15, 15]
    assert doubling.replay(torch.ones(5, device="cuda")) is None, "not for another shape"


@needs_gpu
def test_a_recording_that_fails_leaves_nothing_behind(gpu: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes, stream = _recordings(monkeypatch), torch.cuda.current_stream()

    def waits(values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        noise = torch.rand_like(values)
        return (values + float(noise.sum() * 0),)

    drawn = []
    for run in (waits, RecordedPass(waits, gpu)):
        torch.manual_seed(3)
        for one in range(WARM_UPS + 3):
            assert run(torch.full((3,), float(one), device="cuda"))[0].tolist() == [one] * 3
        drawn.append(torch.rand(4, device="cuda"))
    assert outcomes == [False] and torch.equal(*drawn), "random numbers go on from where they were"
    assert torch.cuda.current_stream() == stream
    doubling = RecordedPass(lambda values: (2 * values,), gpu)
    assert [doubling(torch.full((1,), float(one), device="cuda"))[0].item() for one in range(6)] == [0, 2, 4, 6, 8, 10]
    assert outcomes == [False, True]


@needs_gpu
@pytest.mark.parametrize("method", ["ood", "fast", "zskt"])
@pytest.mark.parametrize("defense", ["abd", "none"])
def test_replayed_steps_lead_to_the_same_student(
    make_teacher: Callable[..., Teacher], gpu: Compute, monkeypatch: pytest.MonkeyPatch, method: str, defense: str
) -> None:
    outcomes = _recordings(monkeypatch)
    replayed = _weights(_distilled(make_teacher(), gpu, method, defense))
    assert outcomes and all(outcomes)
    with monkeypatch.context() as patch:
        _never_recorded(patch)
        plain = _weights(_distilled(make_teacher(), gpu, method, defense))
        start = _weights(_distilled(make_teacher(), gpu, method, defense, steps=1))
    way = (plain - start).norm()
    assert way > 0.1
    assert (replayed - plain).norm() < 1e-4 * way


@needs_gpu
@pytest.mark.parametrize("method", ["fast", "zskt"])
def test_a_run_goes_on_from_its_state_on_a_gpu(make_teacher: Callable[..., Teacher], gpu: Compute, method: str) -> None:
    whole = _weights(_distilled(make_teacher(), gpu, method, "abd"))
    half = _distilled(make_teacher(), gpu, method, "abd", steps=STEPS // 2)
    way = (whole - _weights(half)).norm()
    state, rest = half.state_dict(), _distilled(make_teacher(), gpu, method, "abd", steps=STEPS - 2)
    rest.load_state_dict(state)
    events = rest.run()
    while rest.step < STEPS:
        next(events)
    assert way > 0.05
    assert (_weights(rest) - whole).norm() < 1e-4 * way


@needs_gpu
@pytest.mark.parametrize("method", ["fast", "ood", "zskt"])
def test_a_gpu_is_not_waited_for_between_two_rounds(
    make_teacher: Callable[..., Teacher], gpu: Compute, method: str
) -> None:
    distillation = _distilled(make_teacher(), gpu, method, "abd", steps=21)  # past the report of step 20
    events = distillation.run()
    next(events)
    torch.cuda.set_sync_debug_mode("error")
    try:
        while distillation.step < 24:
            next(events)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_gpu
def test_a_gpu_is_not_waited_for_to_lay_led_marks(gpu: Compute) -> None:
    random = torch.Generator().manual_seed(0)
    adversaries = make_adversaries([[1] * 4], UnlearningSettings(), (3, 8, 8), gpu.device, random, kind="mark")
    images = gpu.images(torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1)))
    torch.cuda.set_sync_debug_mode("error")
    try:
        shown = adversaries.laid_over(images, 4)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(shown[:2], images[:2])
    assert (shown[2:] != images[2:]).flatten(1).any(dim=1).all()
    assert shown.amin() >= 0 and shown.amax() <= 1


@needs_gpu
@pytest.mark.parametrize("bf16", [False, True])
def test_the_published_retrospection_is_replayed(bf16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes, gpu = _recordings(monkeypatch), Compute(torch.device("cuda"), bf16)

    def steps() -> list[torch.Tensor]:
        """The losses and gradients of a few steps on the weights that the one before has left."""
        torch.manual_seed(0)
        student = gpu.place(build_student("wrn-10-1", ImageSpec(8, 8, 3, 4, (0.5,) * 3, (0.25,) * 3), 0)).train()
        retrospection = PaperRetrospection(gpu, torch.full((1, 3, 1, 1), 0.25, device="cuda"), rounds=3)
        of_steps = []
        for _ in range(WARM_UPS + 3):
            student.zero_grad()
            images = gpu.images(torch.rand(16, 3, 8, 8))
            loss = retrospection.add_gradient(student, images)
            gradients = [one.grad for one in student.parameters() if one.grad is not None]
            of_steps.append(torch.cat([loss.flatten(), *(one.flatten() for one in gradients)]))
            with torch.no_grad():
                torch._foreach_sub_(list(student.parameters()), gradients, alpha=0.1)
        return of_steps

    replayed = steps()
    assert outcomes == [True]
    _never_recorded(monkeypatch)
    for one, other in zip(replayed, steps(), strict=True):
        assert (one - other).norm() < 1e-3 * other.norm()


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_gives_the_statistics_of_the_textbook(dtype: torch.dtype) -> None:
    images = 3 + torch.randn(8, 5, 6, 6, device="cuda").to(dtype)
    images[:, 2] = 1.5  # a channel that is always the same
    for memory_format in (torch.contiguous_format, torch.channels_last):
        mean, variance = _ChannelStatistics.apply(images.contiguous(memory_format=memory_format))
        assert mean.dtype == variance.dtype == torch.float32
        assert torch.allclose(mean, images.float().mean(dim=(0, 2, 3)), atol=1e-5)
        assert torch.allclose(variance, images.float().var(dim=(0, 2, 3), correction=0), atol=1e-5)


@needs_gpu
def test_a_gpu_asks_again_as_a_cpu_does(make_teacher: Callable[..., Teacher], gpu: Compute) -> None:
    teacher, other = make_teacher(), make_teacher("wrn-16-1")
    images = torch.rand(32, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    answers = []
    for compute in (Compute(torch.device("cpu"), False), gpu):
        answering = AnsweringTeacher(compute.place(teacher.network), compute)
        first = answering(compute.images(images)).logits
        doubted = int(first.argmax(dim=1).mode().values)
        answering.second_opinion = SecondOpinion(compute.place(other.network), (doubted,))
        answers.append(answering(compute.images(images)).logits.cpu())
    assert torch.allclose(*answers, atol=1e-3)
