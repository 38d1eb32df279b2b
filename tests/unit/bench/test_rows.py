"""The rows of ``abd-app bench``, on a small subject."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from abd_app import cli
from abd_app.bench import CASES, Case, Subject, make_subject, measure_row
from abd_app.bench.cases import FAST, PATCHES, start
from abd_app.bench.passes import BarePasses
from abd_app.distill.compute.device import Compute
from abd_app.distill.laps import laps, seconds_per_step
from abd_app.distill.sources.base import Batch

ROOT = Path(__file__).resolve().parents[3]
_COMPUTE = Compute(torch.device("cpu"), bf16=False)
_KEYS = [
    "source", "defense", "device", "precision", "ms_per_step", "images_per_s", "peak_memory_mb", "ratio_to_primitives",
    "speedup_vs_naive",
]  # fmt: skip


def _subject() -> Subject:
    return make_subject("wrn-10-1", size=(8, 8), num_classes=4, student_name="wrn-10-1", batch_size=8)


def test_every_source_meets_every_defence_that_acts_in_its_steps_and_only_published_steps_are_compared() -> None:
    assert len(CASES) == len(set(CASES)) == 14
    assert {case.defense for case in CASES if case.source == "zskt"} == {"none", "sv"}
    published = {(case.source, case.defense) for case in CASES if case.published}
    of_paper = {("zskt-paper", defense) for defense in ("none", "sv", "sr", "abd")}
    assert published == of_paper | {("zskt", "none"), ("ood", "none")}


@pytest.mark.parametrize("case", [Case("zskt-paper", "abd"), Case("ood", "sv"), Case("fast", "abd")])
def test_a_row_holds_what_the_step_cost(case: Case) -> None:
    row = measure_row(case, _subject(), _COMPUTE, budget_s=0)
    assert row.images_per_s == pytest.approx(8 / (row.ms_per_step / 1e3), rel=1e-6)
    assert 0.3 < row.ratio_to_primitives < 30  # the machine may be busy, and the networks are tiny
    assert (row.speedup_vs_naive is not None) == case.published
    assert row.peak_memory_mb is None or row.peak_memory_mb > 50


def test_the_published_form_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    from abd_app.bench import rows

    seen = []
    original = rows.NaiveOod
    monkeypatch.setattr(rows, "NaiveOod", lambda *given, **named: seen.append(given[2]) or original(*given, **named))
    timed = rows.published_step(Case("ood", "none"), _subject(), Compute(torch.device("cpu"), bf16=True))
    assert timed is not None and timed() > 0
    assert [one.precision for one in seen] == ["fp32"]


@pytest.mark.parametrize(("student", "layers"), [("resnet18-imagenet", 4), ("preact-resnet18", 0)])
def test_the_published_form_transfers_attention_where_ours_does(
    monkeypatch: pytest.MonkeyPatch, student: str, layers: int
) -> None:
    from abd_app.bench import rows

    seen = []
    original = rows.NaiveZskt
    monkeypatch.setattr(rows, "NaiveZskt", lambda *given, **named: seen.append(named) or original(*given, **named))
    subject = make_subject("resnet18-imagenet", size=(32, 32), num_classes=4, student_name=student, batch_size=8)
    rows.published_step(Case("zskt", "none"), subject, _COMPUTE)
    ours = start(Case("zskt", "none"), subject, _COMPUTE)
    (stages,) = (named["stages"] for named in seen)
    assert [len(names) for names in stages] == [layers, layers]
    assert ours.student.transfers_attention == bool(layers)


def test_the_defences_are_at_work_while_the_clock_runs() -> None:
    distillation = start(Case("zskt", "abd"), _subject(), _COMPUTE)
    assert distillation._source.vaccine is not None
    assert start(Case("zskt-paper", "sr"), _subject(), _COMPUTE)._retrospection is not None
    steps = laps(distillation, _COMPUTE)
    kinds = [next(steps).of_student for _ in range(12)]
    steps.close()
    assert kinds == [False] + [True] * 10 + [False]
    assert start(Case("zskt", "none"), _subject(), _COMPUTE)._source.vaccine is None


def test_a_defence_adds_its_passes() -> None:
    needed = {
        defense: sum(one.per_step for one in BarePasses(Case("zskt-paper", defense), _subject(), _COMPUTE).of_step())
        for defense in ("none", "sv", "sr", "abd")
    }
    assert needed["none"] == pytest.approx(1.5)  # the student's, and a tenth of five others
    assert needed["sv"] == pytest.approx(1.6)
    assert needed["sr"] - needed["none"] == pytest.approx(1 + 10 + 1 + 1 + 4 + 1)
    assert needed["abd"] - needed["sr"] == pytest.approx(0.1)


def test_the_votes_of_all_copies_are_needed_where_images_are_labelled() -> None:
    def needed(source: str, defense: str) -> float:
        return sum(one.per_step for one in BarePasses(Case(source, defense), _subject(), _COMPUTE).of_step())

    assert needed("ood", "sv") - needed("ood", "none") == pytest.approx(1 / PATCHES.student_steps)
    votes = (1 + FAST.inverted / FAST.drawn) / FAST.student_steps
    assert needed("fast", "sv") - needed("fast", "none") == pytest.approx(votes), "of new patches and inverted images"


def test_every_timed_cycle_is_a_whole_one() -> None:
    distillation = start(Case("ood", "abd"), _subject(), _COMPUTE)
    for _ in range(2):
        steps = laps(distillation, _COMPUTE)
        kinds = [next(steps).of_student for _ in range(5)]
        steps.close()
        assert not kinds[0] and kinds[-1]


def test_a_whole_cycle_is_timed_as_often_as_wanted_and_the_run_is_where_it_was() -> None:
    case = Case("ood", "none")
    distillation = start(case, _subject(), _COMPUTE)
    first, learned = distillation.step, list[int]()
    learn = distillation.student.learn

    def noted(batch: Batch, step: int) -> torch.Tensor:
        learned.append(step)
        return learn(batch, step)

    distillation.student.learn = noted  # type: ignore[method-assign]
    for _ in range(5):  # more steps than the run has left
        assert seconds_per_step(distillation, _COMPUTE, case.student_steps) > 0
    assert distillation.step == first
    assert learned == 5 * list(range(first, first + case.student_steps))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak and forgets it")
def test_the_peak_of_memory_is_forgotten_and_found_again() -> None:
    """In a process of its own: one that has freed much memory before takes it again without growing."""
    code = """
import torch
from abd_app.bench.stopwatch import forget_peak_memory, peak_memory_mb
from abd_app.distill.compute.device import Compute
compute = Compute(torch.device("cpu"), bf16=False)
torch.ones(2**26).sum()
forget_peak_memory(compute)
before = peak_memory_mb(compute)
torch.ones(2**25).sum()
print(peak_memory_mb(compute) - before)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert 100 < float(ran.stdout) < 200


def test_the_command_prints_rows_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--device", "cpu", "--size", "8", "--batch", "4", "--source", "ood", "--defense", "none"]
    assert cli.run(["bench", *options, "--json"], open_window=lambda file, demo: 1) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert list(row) == _KEYS
    assert (row["source"], row["defense"], row["device"]) == ("ood", "none", "cpu")
    assert row["ms_per_step"] > 0


@pytest.mark.parametrize("wrong", [["--source", "cmi"], ["--size", "4"], ["--device", "tpu"], ["--defense", "all"]])
def test_a_wrong_option_is_bad_usage(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["bench", *wrong], open_window=lambda file, demo: 1) == 2
    assert wrong[0] in capsys.readouterr().err
