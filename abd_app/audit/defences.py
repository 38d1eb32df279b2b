"""Which defences acted in a run, as against which were asked for."""

from __future__ import annotations

from abd_app.audit.opening import OpenAudit
from abd_app.plan import PURIFIED


def defences_that_acted(audit: OpenAudit) -> list[str]:
    """Names of the defences that could keep a backdoor out, for the report; why others could not is in findings.

    A search that found no class to unlearn has acted; one that the teacher's answers made impossible has not, nor one
    whose unlearning was taken back.
    """
    recipe, record = audit.recipe, audit.record
    search, purifies = record.target_search, audit.plan.student == PURIFIED
    published = recipe.retrospection == "paper" and record.steps > recipe.retrospection_step
    acted = {
        "activation bounds": recipe.bounds is not None and audit.teacher.card.batchnorm_layers > 0,
        "shuffling vaccine": record.vaccine is not None and record.vaccine.accepted,
        "self-retrospection": published
        or (search is not None and (bool(search.unlearned) or (search.possible and not search.undone))),
        "random marks": recipe.marks > 0 and not purifies,
    }
    return [name for name, did in acted.items() if did]
