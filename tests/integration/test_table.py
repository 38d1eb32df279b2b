"""The table of the science on a tiny teacher: it goes on where it stopped, and mixes no rows of different options."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import table

from abd_app.plan import AuditPlan

Run = Callable[..., list[str]]


@pytest.fixture
def run_table(tiny_plan: Callable[..., AuditPlan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the script with two steps a row; the names of the folders in which something was computed."""
    plan = tiny_plan()
    case = {"name": "tiny", "file": plan.teacher_file, "trigger": "badnets-square", "target": 0, "size": 8}
    (tmp_path / "cases.json").write_text(json.dumps([case]), encoding="utf-8")
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(40) % 4)
    np.savez(tmp_path / "others.npz", images=255 - images, labels=np.arange(40) % 4)
    whole, computed = table.run, list[str]()

    def counted(plan: AuditPlan) -> dict[str, Any]:
        computed.append(Path(plan.out).name)
        return whole(plan)

    def run(*changes: str) -> list[str]:
        computed.clear()
        table.evaluation_images.cache_clear()
        options = ["--cases", str(tmp_path / "cases.json"), "--images", str(tmp_path / "images.npz")]
        options += ["--steps", "2", "--device", "cpu", "--out", str(tmp_path / "out"), *changes]
        monkeypatch.setattr(sys, "argv", ["table.py", *options])
        table.main()
        return list(computed)

    monkeypatch.setattr(table, "run", counted)
    return run


def test_a_table_goes_on_where_it_stopped(run_table: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_table() == ["tiny-ood-none-0", "tiny-ood-abd-0"]
    first = (tmp_path / "out" / "rows.csv").read_text(encoding="utf-8")
    assert first.count("tiny,ood,") == 2
    assert "| tiny | " in capsys.readouterr().out
    assert run_table() == []
    assert (tmp_path / "out" / "rows.csv").read_text(encoding="utf-8") == first
    (tmp_path / "out" / "tiny-ood-abd-0" / "report.json").unlink()
    assert run_table() == ["tiny-ood-abd-0"], "what was stopped before its report is done again, and nothing else"


def test_rows_that_were_made_with_other_options_are_refused(run_table: Run, tmp_path: Path) -> None:
    assert run_table("--defenses", "none") == ["tiny-ood-none-0"]
    before = (tmp_path / "out" / "rows.csv").read_bytes()
    for changes, names in (
        (("--steps", "3"), "another steps: give a new folder"),
        (("--student", "wrn-16-2", "--effort", "standard"), "another student and effort"),
    ):
        with pytest.raises(SystemExit, match=names) as caught:
            run_table("--defenses", "none", *changes)
        assert "tiny-ood-none-0" in str(caught.value)
    with pytest.raises(SystemExit, match="other images"):
        run_table("--defenses", "none", "--images", str(tmp_path / "others.npz"))
    assert (tmp_path / "out" / "rows.csv").read_bytes() == before
