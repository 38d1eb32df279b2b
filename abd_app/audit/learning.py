"""The middle of an audit: one student learns while it is watched."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

import torch
from torch import nn

from abd_app.audit.long_runs import warn_of_long_run
from abd_app.audit.opening import OpenAudit
from abd_app.audit.scoring import MEASUREMENTS
from abd_app.distill.assemble import assemble, build_student
from abd_app.distill.compute.parallel import is_main_process
from abd_app.distill.defences.vaccine import VaccineError
from abd_app.distill.loop import Distillation
from abd_app.distill.recipe import Recipe
from abd_app.distill.sources.pictures import drawn_pictures
from abd_app.events import (
    CheckpointSaved,
    DeviceUsed,
    Event,
    FindingMade,
    PhaseAdvanced,
    PhaseStarted,
    Role,
    StepDone,
    TargetSearched,
    VaccineChecked,
)
from abd_app.memory import most_resident_bytes
from abd_app.teacher import Finding

CHECKPOINT_EVERY_S = 60.0


class Wishes(NamedTuple):
    """What the user wants of a run that learns, asked after every step.

    Attributes:
        stop: End here, and keep what has been learned so far; before the first step, after it.
        checkpoint: Write one now.
    """

    stop: Callable[[], bool]
    checkpoint: Callable[[], bool]


_UNBOUNDED = Finding(
    "warning",
    "Activation bounds are off",
    "The app sees no BatchNorm layers that say how far the teacher's activations go on training data.",
)
_STATE_DICT_HAS_MORE = (
    "ONNX export folds BatchNorm layers away unless it is told to keep them: if the network has some and you have it "
    "as a state_dict, open that."
)
_PARTLY_BOUNDED = Finding(
    "warning",
    "Activation bounds act in part",
    "ONNX export seems to have folded BatchNorm layers away: there are few beside the convolutions, and only they say "
    "how far activations go on training data. If you have the network as a state_dict, open that.",
)
_NO_ATTENTION = Finding(
    "info",
    "Attention transfer is off",
    "It needs stages that pair up, as many in both networks and of the same sizes: those of the teacher and of this "
    "student do not. The student learns from the teacher's answers alone; one of the teacher's own family has such "
    "stages.",
)


def learn(audit: OpenAudit, role: Role, wishes: Wishes) -> Generator[Event, None, nn.Module]:
    """Distils the student or, with ``role='twin'``, its undefended twin, and measures it at the end.

    Returns:
        The network, on the device.
    """
    before = audit.checkpoint
    if before is not None and role == "student" and before["role"] == "twin":
        return _learned_before(audit, before["student"])
    goes_on = before is not None and before["role"] == role
    if before is None and role == "student":
        yield from warn_of_long_run(audit)
    yield PhaseStarted("preparing", role, before["distillation"]["step"] if before is not None and goes_on else 0)
    recipe = audit.recipe if role == "student" else audit.recipe.undefended()
    distillation = yield from _assembled(audit, recipe, role, goes_on=goes_on)
    if recipe.attention and not distillation.student.transfers_attention:
        yield from audit.note(_NO_ATTENTION)
    network = distillation.student.network
    if before is not None and goes_on:
        distillation.load_state_dict(before["distillation"])
    with contextlib.closing(_watched(audit, distillation, role, wishes)) as events:
        yield from events
    if role == "student":
        audit.record.steps = distillation.step
        audit.record.student_parameters = sum(parameter.numel() for parameter in network.parameters())
        audit.record.student_weights = {name: value.cpu().clone() for name, value in network.state_dict().items()}
    else:
        audit.record.twin_steps = distillation.step
        if distillation.step < audit.recipe.steps:
            yield from audit.note(_half_a_twin(distillation.step, audit.recipe.steps))
    yield PhaseStarted("measuring", role, distillation.step)
    yield from audit.measure(network, role, distillation.step)
    return network


def _learned_before(audit: OpenAudit, weights: dict[str, torch.Tensor]) -> nn.Module:
    """The student of a run that goes on in its twin."""
    network = audit.compute.place(build_student(audit.record.student_name, audit.teacher.spec, audit.plan.seed))
    network.load_state_dict(weights)
    audit.record.student_weights = weights
    return network


def _assembled(audit: OpenAudit, recipe: Recipe, role: Role, *, goes_on: bool) -> Generator[Event, None, Distillation]:
    """The distillation; without the vaccine, and with a finding, where the teacher has no layer to shuffle."""

    def attempt(recipe: Recipe) -> Distillation:
        return assemble(
            audit.teacher,
            recipe,
            student_name=audit.record.student_name,
            compute=audit.compute,
            seed=audit.plan.seed,
            role=role,
            picture=audit.plan.picture,
        )

    if recipe.bounds is not None:
        yield from note_missing_bounds(audit)
    searches = recipe.retrospection == "teacher" and not goes_on  # what goes on has searched
    yield from draw_pictures(audit, role, patches=searches or recipe.method in ("fast", "ood"))
    try:
        return attempt(recipe)
    except VaccineError as error:
        yield from audit.note(Finding("warning", "Shuffling Vaccine is off", f"The teacher has {error}."))
        return attempt(dataclasses.replace(recipe, vaccine="none"))


def draw_pictures(audit: OpenAudit, role: Role, *, patches: bool = True) -> Iterator[Event]:
    """Procedural pictures, one by one, so that a run can be paused and cancelled meanwhile; they are kept.

    They are those of an estimate, and those that ``patches`` are cut from unless the user has given one.
    """
    spec, drawing = audit.teacher.spec, [*audit.scorer.drawings()]
    if patches and audit.plan.picture is None:
        smallest_px = max(spec.height, spec.width)
        drawing.append(drawn_pictures(channels=spec.channels, seed=audit.plan.seed, smallest_px=smallest_px))
    for done, one in enumerate(drawing):
        for share in one:
            yield PhaseAdvanced(role, (done + share) / len(drawing))


def note_missing_bounds(audit: OpenAudit) -> Iterator[Event]:
    """A finding where the teacher's activations are not bounded, or only in part, although they should be."""
    if audit.recipe.bounds is not None and not audit.teacher.card.batchnorm_layers:
        exported = audit.teacher.card.format == "ONNX"
        detail = f"{_UNBOUNDED.detail} {_STATE_DICT_HAS_MORE}" if exported else _UNBOUNDED.detail
        yield from audit.note(dataclasses.replace(_UNBOUNDED, detail=detail))
    elif audit.recipe.bounds is not None and audit.teacher.card.batchnorm_folded:
        yield from audit.note(_PARTLY_BOUNDED)


def _watched(audit: OpenAudit, distillation: Distillation, role: Role, wishes: Wishes) -> Generator[Event, None, None]:
    """Runs to the end or to the stop, measures along the way and keeps checkpoints."""
    network, last_step, saved = distillation.student.network, distillation.step, time.monotonic()
    every = max(1, audit.recipe.steps // MEASUREMENTS)
    for event in distillation.run():
        yield from audit.note(event.finding) if isinstance(event, FindingMade) else (event,)
        if isinstance(event, VaccineChecked):
            audit.record.vaccine = event
        elif isinstance(event, TargetSearched):
            audit.record.target_search = event
        # Before the network's own first step there is nothing to keep: its weights are random.
        if isinstance(event, StepDone) and event.step > 0 and wishes.stop():
            audit.record.stopped_early = role == "student"
            return
        if not isinstance(event, StepDone) or event.step == last_step:
            continue
        last_step = event.step
        if event.step % every == 0 and event.step < event.total_steps:
            yield from audit.measure(network, role, event.step, live=True)
            yield DeviceUsed(audit.record.device, _memory_bytes(audit.compute.device))
        ends = event.step >= event.total_steps  # what comes then takes its time, too
        if is_main_process() and (ends or wishes.checkpoint() or time.monotonic() - saved > CHECKPOINT_EVERY_S):
            _save(audit, distillation, role)
            saved = time.monotonic()
            yield CheckpointSaved(role, event.step)


def _half_a_twin(steps: int, of: int) -> Finding:
    return Finding(
        "warning",
        f"The undefended twin was stopped after {steps:,} of {of:,} steps",
        "It has learned less than the student, and perhaps not yet the backdoor: the two cannot be compared.",
    )


def _save(audit: OpenAudit, distillation: Distillation, role: Role) -> None:
    audit.folder.save_checkpoint(
        {
            "role": role,
            "teacher_sha256": audit.teacher.card.content,
            "inputs": audit.scorer.inputs,
            "total_steps": audit.recipe.steps,
            "distillation": distillation.state_dict(),
            "student": audit.record.student_weights,
            "record": audit.record.state(),
            "wall_s": time.monotonic() - audit.started,
        }
    )


def _memory_bytes(device: torch.device) -> int:
    """Peak memory of the engine: allocated on the GPU, or resident on the CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else most_resident_bytes()
