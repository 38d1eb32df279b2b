"""Measures models: clean accuracy, the attack success of known triggers, and estimates where no data is given."""

from __future__ import annotations

from abd_app.measure.estimate import UniversalTriggerSearch
from abd_app.measure.evaluation import LabelledSet, check_there, load_evaluation
from abd_app.measure.glance import ImagesGlance, glance_at_images
from abd_app.measure.scores import Meter, Scores, wanted_answers
from abd_app.measure.triggers import Stamp, Trigger, build_trigger

__all__ = [
    "ImagesGlance",
    "LabelledSet",
    "Meter",
    "Scores",
    "Stamp",
    "Trigger",
    "UniversalTriggerSearch",
    "build_trigger",
    "check_there",
    "glance_at_images",
    "load_evaluation",
    "wanted_answers",
]
