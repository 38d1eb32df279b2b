"""The table and plot of how a step grows: written after every point."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import scaling


def test_table_and_plot_are_written_from_the_first_point_on(tmp_path: Path) -> None:
    rows = []
    for growing, point in list(scaling.points(quick=True, large=True)):
        measured = {"ms_per_step": 2.0, "images_per_s": 8.0, "peak_memory_mb": None, "ratio_to_primitives": 1.1}
        rows.append({"growing": growing, **point, "teacher_parameters": 10**6, **measured})
        scaling.write_table(rows, tmp_path, "A device")
        scaling.draw(rows, tmp_path / "scaling.png", "A device")
        assert (tmp_path / "scaling.png").stat().st_size > 1000
    table = (tmp_path / "scaling.md").read_text(encoding="utf-8").splitlines()
    assert len(table) == 4 + len(rows) and table[0] == "A device"
