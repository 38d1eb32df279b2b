"""Teachers for exercises: trained with a backdoor that everybody knows of, or clean to compare with."""

from __future__ import annotations

from abd_app.redteam.making import make_teacher
from abd_app.redteam.order import TeacherOrder

__all__ = ["TeacherOrder", "make_teacher"]
