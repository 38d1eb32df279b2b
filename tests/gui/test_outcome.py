from __future__ import annotations

from abd_app.events import Measured, VaccineChecked
from abd_app.gui.live.curves import CurveStore
from abd_app.gui.live.narration import narrate
from abd_app.gui.look.wording import byte_size, duration, tooltip
from abd_app.gui.results.outcome import Rate, outcome_of


def test_rates_carry_the_denominators_of_the_report() -> None:
    report = {
        "summary": "So it is.",
        "estimated": False,
        "teacher": {"accuracy": 0.99, "images": 1200, "asr": {"sig": 1.0}, "asr_images": {"sig": 1080}},
        "student": {"accuracy": 0.9, "images": 1200, "asr": {"sig": 0.01}, "asr_images": {"sig": 1080}},
        "twin": None,
        "not_tested": ["Other triggers."],
    }
    outcome = outcome_of(report, CurveStore())
    assert outcome.columns == ("", "sig")
    assert outcome.rows == {
        "teacher": (Rate("99.0 %", "of 1,200"), Rate("100.0 %", "of 1,080")),
        "student": (Rate("90.0 %", "of 1,200"), Rate("1.0 %", "of 1,080")),
    }
    assert outcome.not_tested == ("Other triggers.",)
    assert not outcome.estimated
    assert outcome.caution == "info", "of a file of an earlier version"
    assert outcome_of({**report, "caution": "danger"}, CurveStore()).caution == "danger"


def test_what_the_report_lacks_comes_from_the_run() -> None:
    store = CurveStore()
    store.take(Measured("student", 5, 0.9, 640, {}, {}, estimated=True))
    outcome = outcome_of({"student": {"accuracy": 0.9, "asr": {}}, "teacher": {"accuracy": None, "asr": None}}, store)
    assert outcome.rows["student"] == (Rate("90.0 %", "of 640"),)
    assert outcome.rows["teacher"] == (None,)
    assert outcome.estimated
    assert any("No trigger" in text for text in outcome.not_tested)


def test_numbers_and_names_are_written_for_people() -> None:
    assert [byte_size(size) for size in (5, 2048, 3_000_000, 5 * 1024**3)] == ["5 B", "2 KiB", "2.9 MiB", "5.0 GiB"]
    assert [duration(seconds) for seconds in (0.2, 80, 600, 7800, 400_000)] == [
        "1 s", "80 s", "10 min", "2 h 10 min", "5 days"
    ]  # fmt: skip
    assert "&lt;b&gt;" in tooltip("<b>")


def test_the_log_says_the_share_of_images_that_the_vaccine_told_apart() -> None:
    accepted = narrate(VaccineChecked(True, 0.0527, 2, ("a", "b")))
    assert accepted == "Vaccine check: accepted; told apart 5.3 %, 2 trials."
    assert narrate(VaccineChecked(True, 0.0527, 1, ("a",))).endswith("told apart 5.3 %, 1 trial.")
    assert "told apart 0.2 %" in narrate(VaccineChecked(False, 0.002, 2, ("a", "b")))
