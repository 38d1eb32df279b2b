from __future__ import annotations

import pytest

from abd_app import console
from abd_app.events import TargetSearched, VaccineChecked


@pytest.mark.parametrize(("accepted", "verdict"), [(True, "accepted, shuffles a, b"), (False, "none accepted")])
def test_the_vaccine_check_says_the_share_of_images_told_apart(
    capsys: pytest.CaptureFixture[str], accepted: bool, verdict: str
) -> None:
    with console.ProgressPrinter() as progress:
        progress.show(VaccineChecked(accepted, 0.0527, 2, ("a", "b")))
    assert f"vaccine check: {verdict} (told apart 5.3 %, 2 tried)" in capsys.readouterr().err


@pytest.mark.parametrize(("target", "found"), [(3, "class 3 stands out"), (None, "no class stands out")])
def test_the_search_for_a_target_says_what_stands_out(
    capsys: pytest.CaptureFixture[str], target: int | None, found: str
) -> None:
    with console.ProgressPrinter() as progress:
        progress.show(TargetSearched(target, 0.00123, None, 0.4, (0, 3), (10.0, 30.0)))
    assert f"backdoor target: {found} (p = 0.0012)" in capsys.readouterr().err
