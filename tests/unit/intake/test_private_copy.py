"""The file is read once, into a copy that goes away; odd things in its place are refused."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from abd_app.errors import TeacherRefusedError, UsageError
from abd_app.intake.private_copy import private_copy


def test_copy_has_the_content_its_hash_and_an_end(tmp_path: Path) -> None:
    file = tmp_path / "teacher ü\n.pth"
    content = os.urandom(3 << 20)
    file.write_bytes(content)
    with private_copy(str(file)) as copy:
        assert copy.path.read_bytes() == content
        assert copy.sha256 == hashlib.sha256(content).hexdigest()
        assert copy.size_bytes == len(content)
        file.write_bytes(b"swapped while the app looks at it")
        assert copy.path.read_bytes() == content
        if os.name == "posix":
            assert copy.path.stat().st_mode & 0o077 == 0
    assert not copy.path.parent.exists()


def test_the_copy_goes_away_after_an_error(tmp_path: Path) -> None:
    file = tmp_path / "teacher.pth"
    file.write_bytes(b"x")
    with pytest.raises(ZeroDivisionError), private_copy(str(file)) as copy:
        raise ZeroDivisionError
    assert not copy.path.parent.exists()


@pytest.mark.parametrize("name", ["absent.pth", "file.pth/below", "nul\0byte.pth"])
def test_no_such_file_is_a_usage_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.pth").write_bytes(b"x")
    with pytest.raises(UsageError, match="does not exist"), private_copy(str(tmp_path / name)):
        pass


def test_a_folder_names_the_model_in_it(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(UsageError, match="folder") as caught, private_copy(str(tmp_path)):
        pass
    assert caught.value.remedy == "Open the file model.safetensors in it."
    (tmp_path / "another.onnx").write_bytes(b"x")
    with pytest.raises(UsageError, match="folder") as caught, private_copy(str(tmp_path)):
        pass
    assert caught.value.remedy == "Open one of the 2 model files in it, such as another.onnx."


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(TeacherRefusedError, match="not a plain file"), private_copy(str(tmp_path / "pipe.pth")):
        pass


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no /dev/zero")
def test_an_endless_device_is_refused() -> None:
    with pytest.raises(TeacherRefusedError, match="not a plain file"), private_copy("/dev/zero"):
        pass


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "teacher.pth"
    file.write_bytes(b"x")
    file.chmod(0)
    with pytest.raises(TeacherRefusedError, match="cannot be read"), private_copy(str(file)):
        pass
