"""Under torchrun one command is split, the others are refused; without it nothing changes."""

from __future__ import annotations

import pytest

from abd_app import cli
from abd_app.cli import processes
from abd_app.errors import UsageError


@pytest.fixture
def _torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")


@pytest.mark.usefixtures("_torchrun")
def test_only_distill_is_split() -> None:
    assert processes.are_several()
    processes.refuse_unable("distill")
    for command in ("batch", "bench", "demo", "gui", "inspect", "make-teacher", None):
        with pytest.raises(UsageError, match="several processes"):
            processes.refuse_unable(command)


@pytest.mark.usefixtures("_torchrun")
def test_the_command_line_asks_before_a_command_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(processes, "speaks_of_failure", lambda: True)  # without torchrun there is nobody to ask
    assert cli.run(["demo"], open_window=lambda file, demo: 0) == 2
    assert "demo cannot run in several processes." in capsys.readouterr().err


@pytest.mark.parametrize("size", [None, "1"])
def test_one_process_is_as_without_torchrun(monkeypatch: pytest.MonkeyPatch, size: str | None) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if size is not None:
        monkeypatch.setenv("WORLD_SIZE", size)
    assert not processes.are_several()
    processes.refuse_unable("demo")
