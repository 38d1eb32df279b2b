from __future__ import annotations

from collections.abc import Iterator

import pytest

from abd_app.worker.engine import EngineProcess
from tests.unit.worker.engines import ROOT, RUNNER


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineProcess]:
    monkeypatch.syspath_prepend(str(ROOT))  # the child inherits it and finds the runner
    engine = EngineProcess(RUNNER)
    yield engine
    engine.close()
    assert not engine.alive
