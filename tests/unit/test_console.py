from __future__ import annotations

import pytest

from abd_app import console
from abd_app.events import VaccineChecked


@pytest.mark.parametrize(("accepted", "verdict"), [(True, "accepted, shuffles a, b"), (False, "none accepted")])
def test_the_vaccine_check_says_the_share_of_images_told_apart(
    capsys: pytest.CaptureFixture[str], accepted: bool, verdict: str
) -> None:
    with console.ProgressPrinter() as progress:
        progress.show(VaccineChecked(accepted, 0.0527, 2, ("a", "b")))
    assert f"vaccine check: {verdict} (told apart 5.3 %, 2 tried)" in capsys.readouterr().err
