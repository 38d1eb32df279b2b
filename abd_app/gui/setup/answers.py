"""What the user types as answers to the questions about a teacher, as :class:`TeacherFacts`."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from abd_app.command import size_from_text
from abd_app.errors import UsageError
from abd_app.plan import TeacherFacts

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def fields_of_answer(fact: str, text: str) -> dict[str, Any]:
    """The fields of :class:`TeacherFacts` that an answer fills.

    Args:
        fact: A fact of :class:`abd_app.teacher.Question`.
        text: The answer in the syntax of the command-line option; for ``mean_std`` all means, then all deviations.

    Raises:
        UsageError: The text is not an answer to this question.
    """
    text = text.strip()
    if fact == "architecture":
        return {"architecture": text}
    if fact == "input_size":
        return {"input_size": size_from_text(text, where="input size")}
    numbers = tuple(float(part) for part in _NUMBER.findall(text))
    if len(numbers) not in (2, 6):
        raise UsageError(
            f"Mean and std of each channel are 2 or 6 numbers, not {len(numbers)}.",
            where="mean and std",
            remedy="Give three means, then three stds (one each for grey images).",
        )
    half = len(numbers) // 2
    return {"mean": numbers[:half], "std": numbers[half:]}


def with_answers(facts: TeacherFacts, answers: dict[str, str]) -> TeacherFacts:
    """``facts`` completed by all answers that are not empty.

    Raises:
        UsageError: One of the answers makes no sense.
    """
    fields: dict[str, Any] = {}
    for fact, text in answers.items():
        if text.strip():
            fields.update(fields_of_answer(fact, text))
    return dataclasses.replace(facts, **fields)
