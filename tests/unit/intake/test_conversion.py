"""What a file holds once is converted once, however often it is named."""

from __future__ import annotations

import pytest
import torch

from abd_app.errors import TeacherRefusedError
from abd_app.intake import conversion
from abd_app.intake.conversion import Converted


def test_one_view_of_a_tensor_is_one_copy() -> None:
    converted, value = Converted(), torch.rand(100).half()
    copies = [converted.of(value, "a.pth") for _ in range(50)]
    assert len({one.data_ptr() for one in copies}) == 1
    assert copies[0].dtype is torch.float32 and torch.equal(copies[0].half(), value)


def test_parts_of_one_storage_and_tied_weights_are_ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "MOST_REPEATED_BYTES", 0)
    converted, flat = Converted(), torch.rand(100).half()
    assert [len(converted.of(part, "a.pth")) for part in (*flat.split(10), flat)] == [10] * 10 + [100]


def test_many_views_that_overlap_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "MOST_REPEATED_BYTES", 0)
    converted, value = Converted(), torch.rand(100).half()
    with pytest.raises(TeacherRefusedError, match="more than it holds") as refused:
        for start in range(50):
            converted.of(value[start:], "a.pth: layer")
    assert refused.value.where == "a.pth: layer" and "200 bytes" in refused.value.why
