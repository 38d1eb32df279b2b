"""Teacher files for the fake runner, and batches of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from abd_app.batch import BatchPlan
from abd_app.plan import AuditPlan

ROOT = Path(__file__).parents[3]


@pytest.fixture
def make_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., BatchPlan]:
    monkeypatch.syspath_prepend(str(ROOT))  # the child inherits it and finds the runner

    def make(*names: str, **changes: object) -> BatchPlan:
        for name in names:
            path = tmp_path / "teachers" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"weights of {name}".encode())
        options: dict[str, object] = {
            "files": tuple(str(tmp_path / "teachers" / name) for name in names), "seeds": (0,),
            "out": str(tmp_path / "out"), "options": AuditPlan("", "", steps=2, device="cpu"), "jobs": 2,
        }  # fmt: skip
        return BatchPlan(**{**options, **changes})  # type: ignore[arg-type]

    return make
