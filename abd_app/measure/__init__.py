"""Measures models: clean accuracy, the attack success of known triggers, and estimates where no data is given."""

from __future__ import annotations

from abd_app.measure.estimate import UniversalTriggerSearch
from abd_app.measure.evaluation import EvaluationSet, check_there, load_evaluation
from abd_app.measure.scores import Meter, Rate, Scores, attack_success, clean_accuracy, wanted_answers
from abd_app.measure.triggers import Stamp, Trigger, build_trigger

__all__ = [
    "EvaluationSet",
    "Meter",
    "Rate",
    "Scores",
    "Stamp",
    "Trigger",
    "UniversalTriggerSearch",
    "attack_success",
    "build_trigger",
    "check_there",
    "clean_accuracy",
    "load_evaluation",
    "wanted_answers",
]
