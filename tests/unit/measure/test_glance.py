"""What labelled images are to a teacher, before they are read: the same as when they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from abd_app.errors import UsageError
from abd_app.measure import ImagesGlance, fit, glance_at_images, load_evaluation
from abd_app.teacher import ImageSpec

SPEC = ImageSpec(8, 8, 3, 3, (0.0,) * 3, (1.0,) * 3)


def _folder(root: Path, names: tuple[str, ...], *, mode: str = "RGB", size: tuple[int, int] = (8, 8)) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(2):
            Image.new(mode, size).save(root / name / f"{number}.png")
    return root


def test_images_that_fit_are_counted(tmp_path: Path) -> None:
    arrays = tmp_path / "set.npz"
    np.savez(arrays, images=np.zeros((5, 8, 8, 3), np.uint8), labels=np.array([0, 2, 2, 2, 0]))
    assert glance_at_images(arrays, SPEC) == ImagesGlance(5, 2, 8, 8, alike=True)
    assert glance_at_images(_folder(tmp_path / "set", ("a", "b", "c")), SPEC) == ImagesGlance(6, 3, 8, 8, alike=False)


def test_another_size_and_other_colours_are_said_as_a_run_says_them(tmp_path: Path) -> None:
    arrays = tmp_path / "grey.npz"
    np.savez(arrays, images=np.zeros((2, 6, 5), np.uint8), labels=np.array([0, 1]))
    for path in (arrays, _folder(tmp_path / "grey", ("0", "1"), mode="L", size=(5, 6))):
        seen = glance_at_images(path, SPEC)
        assert (seen.count, seen.height, seen.width) == (len(load_evaluation(path, SPEC).images), 6, 5)
        first = "The first one is" if path.is_dir() else "They are"
        assert [one.detail for one in seen.findings] == [
            f"{first} 6 x 5 pixels, resized and centre-cropped to 8 x 8.",
            f"{first} grey.",
        ]
        assert [one.title for one in seen.findings] == [one.title for one in load_evaluation(path, SPEC).findings]


def test_that_memory_holds_a_part_of_them_is_said_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "MAX_BYTES", 2 * 3 * 8 * 8)
    folder = _folder(tmp_path / "set", ("a", "b", "c"))
    seen = glance_at_images(folder, SPEC)
    assert seen.count == 6 and [one.title for one in seen.findings] == ["2 of 6 evaluation images are used"]
    assert seen.findings == load_evaluation(folder, SPEC).findings


def test_what_leaves_classes_in_doubt_is_said_before_the_run(tmp_path: Path) -> None:
    names = ("cat", "dog", "owl")
    folder, arrays = _folder(tmp_path / "set", ("a", "b", "c")), tmp_path / "set.npz"
    np.savez(
        arrays, images=np.zeros((2, 8, 8, 3), np.uint8), labels=np.array([0, 1]), classes=np.array(["a", "b", "c"])
    )
    for path in (folder, arrays):
        seen = glance_at_images(path, SPEC, class_names=names)
        assert seen.findings and seen.findings == load_evaluation(path, SPEC, class_names=names).findings


def test_what_a_run_refuses_is_refused_at_once(tmp_path: Path) -> None:
    beyond = tmp_path / "beyond.npz"
    np.savez(beyond, images=np.zeros((2, 8, 8, 3), np.uint8), labels=np.array([0, 3]))
    for path in (beyond, _folder(tmp_path / "two", ("a", "b")), tmp_path / "absent"):
        with pytest.raises(UsageError) as refused:
            load_evaluation(path, SPEC)
        with pytest.raises(UsageError) as seen:
            glance_at_images(path, SPEC)
        assert str(seen.value) == str(refused.value)
