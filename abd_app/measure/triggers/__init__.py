"""Triggers as callables on images in [0, 1], one file a kind."""

from __future__ import annotations

from abd_app.measure.triggers.base import Stamp, Trigger
from abd_app.measure.triggers.build import build_trigger

__all__ = ["Stamp", "Trigger", "build_trigger"]
