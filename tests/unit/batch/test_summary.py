from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from abd_app.batch import BatchPlan
from abd_app.batch.outcome import Outcome, done, failed, unfinished
from abd_app.batch.summary import row, to_csv, to_html, write_summary
from abd_app.batch.tasks import AuditTask
from abd_app.events import AuditFailed
from abd_app.plan import Target

HOSTILE = "<script>alert(1)</script>&\"'\u202e\n.pth"
SPELLED = HOSTILE.replace("\u202e\n", r"\u202e\n")
MakeBatch = Callable[..., BatchPlan]
SCORES: dict[str, Any] = {"accuracy": 0.925, "images": 40, "asr": {HOSTILE: 0.1}, "asr_images": {HOSTILE: 30}}


class Page(HTMLParser):
    """The tags, attributes and text of a page as a browser reads them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str | None] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def outcomes(make_batch: MakeBatch, **changes: Any) -> list[Outcome]:
    tasks = make_batch("a.pth", "b.pth", "c.pth").tasks()
    named = [AuditTask(_renamed(task, HOSTILE)) for task in tasks]
    report = {"teacher": {"sha256": "ab" * 32, **SCORES}, "student": SCORES, "twin": None, "estimated": False}
    report["findings"] = [
        {"severity": "info", "title": "Weights only", "detail": ""},
        {"severity": "warning", "title": HOSTILE, "detail": "Why."},
    ]
    return [
        done(named[0], {**report, "wall_s": 63.0, **changes}),
        failed(named[1], AuditFailed(HOSTILE, HOSTILE, "why\nso", "do", 4), sha256="cd" * 32),
        unfinished(named[2]),
    ]


def _renamed(task: AuditTask, name: str) -> Any:
    return replace(task.plan, teacher_file=f"/t/{name}")


def test_every_name_on_the_page_is_escaped(make_batch: MakeBatch) -> None:
    found = outcomes(make_batch)
    page = Page(to_html([row(one) for one in found]))
    assert "script" not in page.tags
    assert page.text.count("<script>alert(1)") >= 6, "names are shown as they are"
    assert "\u202e" not in page.text and "\\u202e" in page.text
    assert page.links == [f"{found[0].task.folder}/report.html"]


def test_the_page_says_what_each_audit_came_to(make_batch: MakeBatch) -> None:
    page = Page(to_html([row(one) for one in outcomes(make_batch)]))
    for text in ("1 of 3 audits are done, 1 were refused or failed, 1 are", "92.5 %", "37 of 40 images", "10.0 %",
                 "3 of 30 images", "not measured", "1 min 3 s", "why so do", "Run it again with --resume"):  # fmt: skip
        assert text in page.text, text
    assert "estimated" not in page.text
    assert "estimated" in Page(to_html([row(one) for one in outcomes(make_batch, estimated=True)])).text


@pytest.mark.parametrize(("caution", "said"), [("danger", "do not use it yet"), ("warning", "look before use")])
def test_what_asks_for_caution_is_seen_at_once(make_batch: MakeBatch, caution: str, said: str) -> None:
    rows = [row(one) for one in outcomes(make_batch, caution=caution, summary="It failed.")]
    assert said in Page(to_html(rows)).text
    table = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert (table[0]["caution"], table[0]["summary"]) == (caution, "It failed.")
    assert (table[1]["caution"], table[1]["summary"]) == ("", "")
    quiet = Page(to_html([row(one) for one in outcomes(make_batch, caution="info")]))
    assert "use it yet" not in quiet.text and "before use" not in quiet.text


@pytest.mark.parametrize(
    ("target", "estimated", "said"),
    [
        (0, False, "attacker's class, on images of other classes."),
        ("all", False, "the class after their own, on all images."),
        (0, True, "an estimate, too, with triggers that a search found on the teacher."),
    ],
)
def test_the_page_says_what_its_rates_are_shares_of(
    make_batch: MakeBatch, target: Target, estimated: bool, said: str
) -> None:
    found = outcomes(make_batch, estimated=estimated)
    aimed = [replace(one, task=AuditTask(replace(one.task.plan, target_class=target))) for one in found]
    text = " ".join(Page(to_html([row(one) for one in aimed])).text.split())
    assert said in text
    assert ("on images of other classes" in text) == (target == 0 and not estimated)
    assert ("Accuracy: on unaltered images" in text) != estimated


def test_the_table_has_rates_with_the_counts_behind_them(make_batch: MakeBatch) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv([row(one) for one in outcomes(make_batch)]))))
    assert [one["status"] for one in rows] == ["done", "failed", "unfinished"]
    first, second, _ = rows
    assert first["file"] == f"/t/{SPELLED}" and first["sha256"] == "ab" * 32 and first["seed"] == "0"
    for role in ("teacher", "student"):
        assert (first[f"{role}_accuracy"], first[f"{role}_images"]) == ("0.925", "40")
        assert (first[f"{role}_asr:{SPELLED}"], first[f"{role}_asr_images:{SPELLED}"]) == ("0.1", "30")
    assert first["twin_accuracy"] == first[f"twin_asr:{SPELLED}"] == "" and first["wall_s"] == "63.0"
    assert second["sha256"] == "cd" * 32 and second["message"].endswith("why so do")
    assert second["teacher_accuracy"] == second["wall_s"] == ""


def test_every_row_of_the_table_is_one_line(make_batch: MakeBatch) -> None:
    assert len(to_csv([row(one) for one in outcomes(make_batch)]).splitlines()) == 4


def test_triggers_that_only_some_audits_measured_have_columns_of_their_own(make_batch: MakeBatch) -> None:
    one, two = make_batch("a.pth", "b.pth").tasks()
    base = {"twin": None, "estimated": True, "wall_s": None}
    reports = [
        {"teacher": {"sha256": "", **scores}, "student": scores, **base}
        for name in ("found-patch", "found-shift")
        for scores in [{"accuracy": 1.0, "images": 9, "asr": {name: 0.0}, "asr_images": {name: 8}}]
    ]
    rows = [row(done(task, report)) for task, report in zip((one, two), reports, strict=True)]
    read = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert [one["student_asr:found-patch"] for one in read] == ["0.0", ""]
    assert [one["student_asr:found-shift"] for one in read] == ["", "0.0"]
    assert "not measured" in Page(to_html(rows)).text


def test_both_files_are_written_even_with_a_name_that_is_not_text(make_batch: MakeBatch, tmp_path: Path) -> None:
    task = AuditTask(_renamed(make_batch("a.pth").tasks()[0], "\udcff.pth"))
    write_summary([unfinished(task)], tmp_path)
    assert "\\udcff" in (tmp_path / "summary.csv").read_text(encoding="utf-8")
    assert (tmp_path / "summary.html").stat().st_size > 1000
