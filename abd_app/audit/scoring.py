"""How a run is watched: clean accuracy and ASR on the user's images, or estimates where there are none."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

from torch import nn

from abd_app.audit.inputs import fingerprints
from abd_app.command import trigger_keys
from abd_app.distill.compute.device import Compute
from abd_app.distill.sources.pictures import drawn_pictures, procedural_patches
from abd_app.errors import UsageError
from abd_app.events import Measured, Role
from abd_app.measure import (
    LabelledSet,
    Meter,
    Scores,
    UniversalTriggerSearch,
    build_trigger,
    check_there,
    load_evaluation,
)
from abd_app.plan import BUILT_IN_TRIGGERS, AuditPlan
from abd_app.teacher import Finding, Teacher

LIVE_IMAGES = 300
"""At most, for a point of a curve: a rate is off by 3 % (one standard deviation), and 20 points cost little."""
MEASUREMENTS = 20
"""Of a student, while it learns."""
ESTIMATE_IMAGES = 512


def check_measures(plan: AuditPlan) -> None:
    """Refuses what can be seen to be wrong before the teacher is opened.

    Raises:
        UsageError: There are no images at the path, a trigger is none, or there are triggers and no images.
    """
    for trigger in plan.triggers:
        # Whether it fits is asked later, of the teacher's size; a picture that is stretched over the image always does.
        anyhow = trigger if trigger.name in BUILT_IN_TRIGGERS else replace(trigger, position="full")
        build_trigger(anyhow, height=64, width=64, channels=3)
    if plan.data is not None:
        check_there(plan.data)
    elif plan.triggers:
        raise UsageError(
            "A trigger can only be measured on labelled images.",
            where="--trigger",
            remedy="Give a folder per class or an .npz with --data, or leave the triggers out for an estimate.",
        )


class Scorer:
    """Measures teacher, student and twin alike.

    Args:
        plan: Says which images, triggers and target class.
        teacher: The loaded teacher.
        network: Its network on the device.
        compute: Device and precision.

    Attributes:
        estimated: True if there are no labelled images.
        findings: About the evaluation images.
        class_names: By class index, the teacher's or else those of the images; empty if neither has any.
        inputs: Fingerprints of what is measured on.

    Raises:
        UsageError: The images, a trigger or the target class do not fit the teacher.
    """

    def __init__(self, plan: AuditPlan, teacher: Teacher, network: nn.Module, compute: Compute) -> None:
        spec = teacher.spec
        if isinstance(plan.target_class, int) and plan.target_class >= spec.num_classes:
            raise UsageError(
                f"Class {plan.target_class} does not exist.",
                where="--target",
                why=f"The teacher has {spec.num_classes} classes, counted from 0.",
                remedy=f"Give a number from 0 to {spec.num_classes - 1}.",
            )
        self.estimated = plan.data is None
        self.findings: tuple[Finding, ...] = ()
        self.class_names = teacher.card.class_names
        self._live: Callable[[nn.Module], Scores]
        self._full: Callable[[nn.Module], Scores]
        evaluation = None
        if plan.data is not None:
            evaluation = load_evaluation(plan.data, spec, class_names=teacher.card.class_names)
        self.inputs = fingerprints(plan, evaluation)
        self._drawings: list[Iterator[float]] = []
        if evaluation is None:
            smallest_px = max(spec.height, spec.width)
            self._drawings = [drawn_pictures(channels=spec.channels, seed=plan.seed + 1, smallest_px=smallest_px)]
            search = functools.cache(lambda: _search(plan, teacher, network, compute))
            self._live = self._full = lambda model: search().replay(model)
        else:
            self.findings, self.class_names = evaluation.findings, self.class_names or evaluation.class_names
            self._live = _meter(plan, teacher, evaluation, compute, LIVE_IMAGES).measure
            self._full = _meter(plan, teacher, evaluation, compute, None).measure

    def drawings(self) -> list[Iterator[float]]:
        """What is to be drawn before the first estimate, for whoever goes through it: after each picture the share."""
        drawings, self._drawings = self._drawings, []
        return drawings

    def measure(self, network: nn.Module, role: Role, step: int, *, live: bool = False) -> Measured:
        """Scores of ``network``; ``live`` ones rest on a few images, for the curves. The first estimate takes long."""
        scores = (self._live if live else self._full)(network)
        if live:  # too few images of each class
            scores = scores._replace(accuracy_by_class={}, images_by_class={})
        return Measured(role, step, estimated=self.estimated, **scores._asdict())


def _search(plan: AuditPlan, teacher: Teacher, network: nn.Module, compute: Compute) -> UniversalTriggerSearch:
    """The estimate's triggers, which take a while to be found."""
    unseen = procedural_patches(ESTIMATE_IMAGES, teacher.spec, seed=plan.seed + 1)
    images, classes = compute.images(unseen).float() / 255, teacher.spec.num_classes
    return UniversalTriggerSearch(network, images, classes, seed=plan.seed, precision=compute.precision)


class NullScorer:
    """Stands where a :class:`Scorer` stands, in a process that learns along while another one measures."""

    findings: tuple[Finding, ...] = ()
    class_names: tuple[str, ...] = ()
    estimated = True

    def __init__(self) -> None:
        self.inputs: dict[str, str] = {}

    def drawings(self) -> list[Iterator[float]]:
        """None: nothing is measured here."""
        return []

    def measure(self, network: nn.Module, role: Role, step: int, *, live: bool = False) -> Measured:
        """Says that nothing has been measured here, on 0 images; such a process reports nothing."""
        return Measured(role, step, 0.0, 0, {}, {}, estimated=True)


def _meter(plan: AuditPlan, teacher: Teacher, evaluation: LabelledSet, compute: Compute, limit: int | None) -> Meter:
    spec = teacher.spec
    triggers = [
        build_trigger(trigger, height=spec.height, width=spec.width, channels=spec.channels)
        for trigger in plan.triggers
    ]
    return Meter(
        evaluation,
        triggers,
        target_class=plan.target_class,
        device=compute.device,
        limit=limit,
        precision=compute.precision if limit else "fp32",
        names=trigger_keys(plan.triggers),
    )
