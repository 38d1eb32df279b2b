"""One row of the table: our step, the bare passes it needs and the published step, timed in turn."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import nn

from abd_app.bench.cases import Case, start
from abd_app.bench.naive import NaiveOod, NaiveZskt, shuffled_copies, trainable
from abd_app.bench.passes import BarePasses
from abd_app.bench.stopwatch import forget_peak_memory, peak_memory_mb, seconds
from abd_app.bench.subject import Subject, smooth_noise
from abd_app.distill.assemble import build_student
from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.recorded import runs_to_warm_up
from abd_app.distill.defences.vaccine import LAYERS, shufflable_layers
from abd_app.distill.laps import seconds_per_step, timed_cycle
from abd_app.distill.sources.generators import ZsktGenerator
from abd_app.distill.student import matching_stages
from abd_app.networks.pixels import PixelNetwork

FEWEST_ROUNDS, MOST_ROUNDS = 3, 9


@dataclass(frozen=True)
class BenchRow:
    """The cost of one optimiser step of the student with its share of everything else.

    Attributes:
        source: ``zskt``, ``zskt-paper`` (published hyper-parameters), ``ood`` or ``fast``.
        defense: ``none``, ``sv``, ``sr`` or ``abd``; ``zskt-paper`` with Self-Retrospection, once that has begun.
        device: ``cpu`` or ``cuda``.
        precision: ``fp32`` or ``bf16``.
        ms_per_step: Wall time.
        images_per_s: Images that the student learns from.
        peak_memory_mb: While our steps run: of PyTorch on a GPU, else of the whole process; ``None`` where unknown.
        ratio_to_primitives: Our step / the sum of the bare forward and backward passes that it needs.
        speedup_vs_naive: The published step in its plain form, in float32 as its authors run it, / ours; ``None`` where
            only we have this step.
    """

    source: str
    defense: str
    device: str
    precision: str
    ms_per_step: float
    images_per_s: float
    peak_memory_mb: float | None
    ratio_to_primitives: float
    speedup_vs_naive: float | None


def measure_row(case: Case, subject: Subject, compute: Compute, *, budget_s: float = 5.0) -> BenchRow:
    """Times one case. The three kinds of steps take turns, so that what else the machine does meets all of them.

    Args:
        budget_s: After so many seconds no further round begins once three are done; at most nine are.
    """
    distillation = start(case, subject, compute)
    on_gpu = compute.device.type == "cuda"
    passes = [(one.per_step, one.timed(compute)) for one in BarePasses(case, subject, compute).of_step()]
    naive = published_step(case, subject, compute) or (lambda: math.nan)

    def ours() -> float:
        if on_gpu:  # works on while the host prepares the next step
            return seconds_per_step(distillation, compute, case.student_steps)
        return timed_cycle(distillation, compute).per_step(case.student_steps)

    def all_three() -> tuple[float, float, float]:
        return ours(), sum(per_step * measured() for per_step, measured in passes), naive()

    forget_peak_memory(compute)
    for _ in range(runs_to_warm_up(compute)):
        ours()
    memory = peak_memory_mb(compute)
    for _ in range(runs_to_warm_up(compute)):
        all_three()
    rounds = _timed_rounds(all_three, budget_s)
    step = median(our for our, _, _ in rounds)
    return BenchRow(
        source=case.source,
        defense=case.defense,
        device=compute.device.type,
        precision=compute.precision,
        ms_per_step=1e3 * step,
        images_per_s=subject.batch_size / step,
        peak_memory_mb=memory,
        ratio_to_primitives=median(our / bare for our, bare, _ in rounds),
        speedup_vs_naive=median(theirs / our for our, _, theirs in rounds) if case.published else None,
    )


def _timed_rounds(
    all_three: Callable[[], tuple[float, float, float]], budget_s: float
) -> list[tuple[float, float, float]]:
    rounds, began = [all_three()], time.perf_counter()
    while len(rounds) < FEWEST_ROUNDS or (len(rounds) < MOST_ROUNDS and time.perf_counter() - began < budget_s):
        rounds.append(all_three())
    return rounds


def published_step(case: Case, subject: Subject, compute: Compute) -> Callable[[], float] | None:
    """Times one published step of the student with its share of the generator's; ``None`` if there is none.

    It runs in float32, whatever ``compute`` does: the authors use no lower precision.
    """
    if not case.published:
        return None
    compute = replace(compute, bf16=False)
    recipe, spec = case.recipe(subject.batch_size), subject.teacher.spec
    teacher = trainable(subject.teacher.network).to(compute.device)
    student = build_student(subject.student_name, spec, 0).train().to(compute.device)
    layers = shufflable_layers(teacher, image_channels=spec.channels)[-LAYERS:]
    random = torch.Generator().manual_seed(0)
    shuffled = shuffled_copies(teacher, layers, random) if recipe.vaccine != "none" else []
    if case.method == "ood":
        images = smooth_noise(subject.batch_size, spec.channels, max(spec.height, spec.width)).to(compute.device)
        images = images[..., : spec.height, : spec.width].contiguous()
        ood = NaiveOod(teacher, student, compute, temperature=recipe.temperature, shuffled=shuffled)
        return lambda: seconds(compute, lambda: ood.student_step(images))
    zskt = _naive_zskt(case, subject, compute, teacher, student, shuffled)
    noise = torch.randn(subject.batch_size, 100).to(compute.device)

    def of_pseudo_batch() -> float:
        generator = seconds(compute, lambda: zskt.generator_step(noise))
        return generator / case.student_steps + seconds(compute, lambda: zskt.student_step(noise))

    return of_pseudo_batch


def _naive_zskt(
    case: Case,
    subject: Subject,
    compute: Compute,
    teacher: nn.Module,
    student: PixelNetwork,
    shuffled: list[nn.Module],
) -> NaiveZskt:
    spec = subject.teacher.spec
    mean, std = (torch.tensor(one, device=compute.device).view(1, -1, 1, 1) for one in (spec.mean, spec.std))
    names = subject.teacher.block_names
    example = torch.rand(2, spec.channels, spec.height, spec.width, device=compute.device)
    stages = matching_stages(student, teacher, names, example)
    return NaiveZskt(
        teacher,
        student,
        ZsktGenerator(spec.channels, spec.height, spec.width).train().to(compute.device),
        compute,
        mean=mean,
        std=std,
        stages=(names, stages) if stages else ((), ()),
        shuffled=shuffled,
        pseudo_batches=100,
        retrospection=case.recipe(subject.batch_size).retrospection == "paper",
    )
