"""Of several files that are dropped together, the model is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from abd_app.gui.main_window import MainWindow
from abd_app.worker.messages import InspectJob
from tests.gui.conftest import StandInEngine
from tests.gui.test_window import drop


@pytest.mark.parametrize(
    ("names", "opened"),
    [
        (("m.onnx.data", "m.onnx"), "m.onnx"),
        (("config.json", "MODEL.PTH", "b.pt"), "MODEL.PTH"),
        (("weights", "notes.txt"), "weights"),
    ],
)
def test_the_first_model_is_opened(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path, names: tuple[str, ...], opened: str
) -> None:
    assert drop(window, *(tmp_path / name for name in names))
    (job,) = stand_in.jobs
    assert isinstance(job, InspectJob) and Path(job.file).name == opened
