"""Files that hold something else than the weights of one network are told for what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from abd_app.errors import TeacherRefusedError
from abd_app.intake.unwrap import unwrap

HERE = Path("state.pt")


@pytest.mark.parametrize("student", [None, {"fc.weight": torch.ones(2, 4), "fc.bias": torch.ones(2)}])
def test_a_checkpoint_of_this_app_is_told_for_what_it_is(student: dict[str, torch.Tensor] | None) -> None:
    """Also where it holds a student beside what an undefended twin has learned so far."""
    distillation = {"step": 3, "student": {"fc.weight": torch.ones(2, 4)}}
    content = {"role": "twin", "teacher_sha256": "0" * 64, "distillation": distillation, "student": student}
    with pytest.raises(TeacherRefusedError, match="checkpoint of a run of this app") as caught:
        unwrap(content, HERE)
    assert "student.safetensors" in caught.value.remedy and "--resume" in caught.value.remedy
