"""The arithmetic of the table of the science, on rows whose means, spreads and worst cases are computed by hand."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from table_summary import Row, carried_pairs, write_summary


def _row(case: str, defense: str, seed: int, accuracy: float, asr: float | None, **other: object) -> Row:
    values: dict[str, object] = {
        "case": case, "method": "ood", "defense": defense, "seed": seed, "teacher_accuracy": 0.8,
        "teacher_asr": None if asr is None else 1.0, "accuracy": accuracy, "asr": asr, "steps": 2, "wall_s": 3.0,
        "device": "CPU",
    }  # fmt: skip
    return Row(**{**values, **other})  # type: ignore[arg-type]


ROWS = [
    _row("grid", "none", 0, 0.72, 0.9, wall_s=2.0),
    _row("grid", "none", 1, 0.76, 0.2, wall_s=5.0),  # the mean of the twins, 55 %, counts
    _row("grid", "abd", 0, 0.70, 0.04),
    _row("grid", "abd", 1, 0.74, 0.10),
    _row("blend", "none", 0, 0.60, 0.49),  # not carried
    _row("blend", "abd", 0, 0.40, 0.45),
    _row("clean", "none", 0, 0.80, None),
    _row("clean", "abd", 0, 0.72, None, device="GPU"),
]


@pytest.fixture
def table(tmp_path: Path) -> list[list[str]]:
    """The cells of every line of ``table.md``."""
    write_summary(ROWS, tmp_path)
    lines = (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_a_pair_is_carried_if_its_twins_reach_half_on_average() -> None:
    assert carried_pairs(ROWS) == {("grid", "ood")}
    assert carried_pairs([_row("edge", "none", 0, 0.7, 0.5)]) == {("edge", "ood")}
    assert carried_pairs([_row("edge", "none", 0, 0.7, 0.49)]) == set()
    other_source = _row("blend", "none", 0, 0.5, 1.0, method="fast")
    assert carried_pairs([*ROWS, other_source]) == {("grid", "ood"), ("blend", "fast")}
    assert carried_pairs([_row("grid", "abd", 0, 0.7, 1.0)]) == set(), "without a twin nothing is known"


def test_every_case_has_the_mean_and_the_standard_deviation_over_its_seeds(table: list[list[str]]) -> None:
    # Of 72 and 76 the sample's deviation is 4 / sqrt(2); of 90 and 20, 70 / sqrt(2).
    assert ["grid", "80.0 / 100.0", "ood", "none", "2", "74.0 ± 2.8", "55.0 ± 49.5", "2", "4"] in table
    assert ["grid", "80.0 / 100.0", "ood", "abd", "2", "72.0 ± 2.8", "7.0 ± 4.2", "2", "3"] in table
    assert ["blend", "80.0 / 100.0", "ood", "abd", "1", "40.0", "45.0", "2", "3"] in table
    assert ["clean", "80.0 / -", "ood", "abd", "1", "72.0", "-", "2", "3"] in table


def test_a_defence_has_mean_and_worst_and_its_asr_only_where_the_twin_carries(table: list[list[str]]) -> None:
    # Accuracies 70, 74, 40, 72 of 80; ASR of the grid alone: 4 and 10.
    assert ["ood", "abd", "64.0, 40.0", "80.0, 50.0", "1", "7.0, 10.0"] in table
    assert ["ood", "none", "72.0, 60.0", "90.0, 75.0", "1", "55.0, 90.0"] in table
    assert ["Percent. Computed on: CPU, GPU."] in table


def test_where_no_twin_carries_there_is_no_asr_to_tell(tmp_path: Path) -> None:
    write_summary([row for row in ROWS if row.case != "grid"], tmp_path)
    assert "| ood | abd | 56.0, 40.0 | 70.0, 50.0 | 0 | - |" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_rows_and_plot_are_written_also_for_clean_teachers_alone(tmp_path: Path) -> None:
    write_summary(ROWS, tmp_path)
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(ROWS)
    assert (rows[3]["case"], rows[3]["seed"], float(rows[3]["asr"])) == ("grid", "1", 0.1)
    assert rows[-1]["asr"] == "", "not measured is not zero"
    drawn = (tmp_path / "plot.png").read_bytes()
    write_summary(ROWS[-2:], tmp_path)
    assert (tmp_path / "plot.png").read_bytes() != drawn
