"""What no test may touch, the history of the user who runs it, and a folder that nobody may look into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data-home")))
        yield


@pytest.fixture
def closed_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of which the system says nothing, not even to root, who may look anywhere else."""
    folder = tmp_path / "closed"

    def closed(look: Callable[[Path], bool]) -> Callable[[Path], bool]:
        def look_at(path: Path) -> bool:
            if folder in path.parents:
                raise PermissionError(13, "Permission denied", str(path))
            return look(path)

        return look_at

    for name in ("is_dir", "is_file", "exists"):
        monkeypatch.setattr(Path, name, closed(getattr(Path, name)))
    return folder
