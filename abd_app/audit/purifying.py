"""The middle of an audit without a student: the teacher itself, purified."""

from __future__ import annotations

from collections.abc import Generator

from torch import nn

from abd_app.audit.learning import draw_pictures, note_missing_bounds
from abd_app.audit.opening import OpenAudit
from abd_app.distill.assemble import assemble_purified, purification
from abd_app.distill.defences.judged import JudgedNetwork
from abd_app.events import Event, FindingMade, PhaseStarted, StepDone, TargetSearched
from abd_app.teacher import Finding

_JUDGED = Finding(
    "info",
    "The purified model is two networks",
    "It answers as the teacher does, as far as a copy that unlearned the backdoor bears it out. So its file is twice "
    "as large, and an image takes it twice as long.",
)
_COPY_ALONE = Finding(
    "info",
    "The purified model is the copy that unlearned, alone",
    "One ONNX file does not hold it and the teacher whose answers it would judge. So images of the class that was "
    "unlearned are recognised less often.",
)


def purify(audit: OpenAudit) -> Generator[Event, None, nn.Module]:
    """Bounds the teacher's activations and has it unlearn the backdoor whose target stands out, then measures it.

    Returns:
        A network of the teacher's architecture and, but for what was unlearned, its weights; the bounds are part of it.
        Where a class that stands out by its margin was unlearned, the teacher itself, judged by that network.
    """
    yield from note_missing_bounds(audit)
    answering, retrospection = purification(
        audit.teacher, audit.recipe, compute=audit.compute, seed=audit.plan.seed, picture=audit.plan.picture
    )
    yield PhaseStarted("self-retrospection", "student", 0)
    yield from draw_pictures(audit, "student")
    steps, total = 0, retrospection.most_steps()
    for losses in retrospection.run():
        steps = min(steps + 1, total)
        yield StepDone("student", steps, total, steps / total, {name: float(value) for name, value in losses.items()})
    yield StepDone("student", steps, total, 1.0)  # what was not needed is not to be waited for
    for event in retrospection.report():
        if isinstance(event, TargetSearched):
            audit.record.target_search = event
        yield from audit.note(event.finding) if isinstance(event, FindingMade) else (event,)
    for finding in answering.microbatches.findings():
        yield from audit.note(finding)
    network = assemble_purified(audit.teacher, answering, retrospection)
    if isinstance(network, JudgedNetwork):
        yield from audit.note(_JUDGED)
    elif retrospection.tolerance is not None:
        yield from audit.note(_COPY_ALONE)
    audit.record.steps = steps
    audit.record.student_parameters = sum(parameter.numel() for parameter in network.parameters())
    yield PhaseStarted("measuring", "student", steps)
    yield from audit.measure(network, "student", steps)
    return network
