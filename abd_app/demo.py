"""The built-in demo: a poisoned road-sign classifier, ready for the click. Importing this costs nothing."""

from __future__ import annotations

from abd_app.assets import asset
from abd_app.plan import AuditPlan, TeacherFacts, TriggerSpec

TARGET_CLASS = 6
"""Turn right: what the attacker's sticker turns every sign into."""
STEPS = 1_800


def demo_plan(out: str, *, seed: int = 0) -> AuditPlan:
    """The plan of the demo: distil safely with ``ood``, next to an undefended twin.

    ``ood`` carries this backdoor into an undefended student within minutes on a CPU, so danger and cure both show.

    Args:
        out: Folder for the results.
        seed: Of everything random.
    """
    return AuditPlan(
        teacher_file=str(asset("demo/teacher.safetensors")),
        out=out,
        facts=TeacherFacts(input_size=(32, 32), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        method="ood",
        steps=STEPS,
        seed=seed,
        data=str(asset("demo/evaluation.npz")),
        triggers=(TriggerSpec("sticker"),),
        target_class=TARGET_CLASS,
        compare=True,
    )
