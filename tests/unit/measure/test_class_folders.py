"""Which pictures a folder of class folders holds, and what is said of those that were passed over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from abd_app.errors import UsageError
from abd_app.measure import class_folders, load_evaluation
from abd_app.measure.survey import Survey, survey_images
from abd_app.teacher import ImageSpec

_SPEC = ImageSpec(8, 8, 3, 3, (0.0,) * 3, (1.0,) * 3)


def _picture(path: Path, level: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), level, dtype=np.uint8)).save(path)
    return path


def _folder(root: Path) -> Path:
    for level, name in enumerate("abc"):
        _picture(root / name / "0.png", level)
    return root


def test_pictures_in_folders_of_a_class_folder_are_of_that_class(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "data")
    _picture(folder / "a" / "more" / "deeper" / "1.png", 10)
    (folder / "b" / "0.png").rename(_picture(folder / "b" / "sub" / "0.png"))
    _picture(folder / "c" / ".thumbnails" / "0.png", 99)
    loaded = load_evaluation(folder, _SPEC)
    assert loaded.labels.tolist() == [0, 0, 1, 2] and loaded.findings == ()
    assert loaded.images[:, 0, 0, 0].tolist() == [0, 10, 1, 2]
    survey = survey_images(folder)
    assert survey == Survey(3, 3, 8, 8, ("a", "b", "c"), survey.first_picture)


def test_links_to_folders_are_not_followed_and_that_is_said(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "data")
    (folder / "a" / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "c" / "linked.png").symlink_to(_picture(tmp_path / "elsewhere" / "1.png", 7))
    loaded = load_evaluation(folder, _SPEC)
    assert loaded.images[:, 0, 0, 0].tolist() == [0, 1, 2, 7], "a link to one picture is a picture"
    assert [said.detail for said in loaded.findings] == ["1 links to folders were not followed."]


@pytest.mark.parametrize("suffix", [".TIF", ".tiff", ".jfif", ".pnm", ".webp"])
def test_pictures_of_every_kind_that_is_read_are_taken(tmp_path: Path, suffix: str) -> None:
    folder = _folder(tmp_path / "data")
    kind = {".TIF": "TIFF", ".jfif": "JPEG", ".pnm": "PPM"}.get(suffix, suffix[1:].upper())
    Image.new("RGB", (8, 8)).save(folder / "b" / f"1{suffix}", format=kind)
    loaded = load_evaluation(folder, _SPEC)
    assert loaded.labels.tolist() == [0, 1, 1, 2] and loaded.findings == ()


def test_images_that_are_not_read_are_counted(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "data")
    _picture(folder / "stray.png")
    for name in ("a/1.heic", "a/2.HEIC", "b/sub/1.psd", "b/list.txt", "c/Thumbs.db", "c/._0.heic"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"?")
    (said,) = load_evaluation(folder, _SPEC, called="test images").findings
    assert (said.severity, said.title) == ("warning", "Some test images were passed over")
    assert "3 files are images of kinds that are not read (2 .heic, 1 .psd)" in said.detail
    assert "1 image files lie beside the class folders" in said.detail


def test_a_class_folder_without_images_is_a_class_without_images(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "data")
    (folder / "a" / "0.png").rename(folder / "a" / "notes.txt")
    loaded = load_evaluation(folder, _SPEC)
    assert loaded.labels.tolist() == [1, 2] and loaded.class_names == ("a", "b", "c")
    (said,) = loaded.findings
    assert said.severity == "warning" and said.title == "The class folder 'a' holds no images"
    survey = survey_images(folder)
    assert survey == Survey(3, 3, 8, 8, ("a", "b", "c"), survey.first_picture)
    (folder / "b" / "0.png").unlink()
    (said,) = load_evaluation(folder, _SPEC).findings
    assert said.title == "2 class folders hold no images" and "'a', 'b'" in said.detail


def test_class_folders_without_any_images_are_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "data")
    for name in "abc":
        (folder / name / "0.png").rename(folder / name / "0.heic")
    with pytest.raises(UsageError, match="class folders hold no images") as refused:
        load_evaluation(folder, _SPEC)
    assert "(3 .heic)" in refused.value.why


def test_a_folder_of_far_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _folder(tmp_path / "data")
    (folder / "a" / "list.txt").touch()
    monkeypatch.setattr(class_folders, "MOST_FILES", 3)
    with pytest.raises(UsageError, match="more than 3 files"):
        load_evaluation(folder, _SPEC)
