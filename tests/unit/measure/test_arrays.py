"""Reading an ``.npz``, and one clear refusal for each thing that can be wrong with its arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from abd_app.errors import UsageError
from abd_app.measure import load_evaluation
from abd_app.measure.survey import Survey, survey_images
from abd_app.teacher import ImageSpec

_IMAGES = np.arange(4 * 8 * 8 * 3, dtype=np.uint32).astype(np.uint8).reshape(4, 8, 8, 3)
_LABELS = np.array([0, 1, 2, 1])
_SPEC = ImageSpec(8, 8, 3, 3, (0.0,) * 3, (1.0,) * 3)


def _npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("names", [("x_test", "y_test"), ("test_images", "test_labels")])
def test_the_test_images_of_well_known_archives_are_found(tmp_path: Path, names: tuple[str, str]) -> None:
    others = {name.replace("test", "train"): array[:2] for name, array in zip(names, (_IMAGES, _LABELS), strict=True)}
    own = dict(zip(names, (_IMAGES, _LABELS[:, None]), strict=True))
    path = _npz(tmp_path / "a.npz", **others, **own)
    loaded = load_evaluation(path, _SPEC)
    assert loaded.labels.tolist() == _LABELS.tolist() and loaded.findings == ()
    assert load_evaluation(path, _SPEC, part="train").labels.tolist() == _LABELS[:2].tolist()
    assert survey_images(path).num_classes == 3 and survey_images(path, part="train").num_classes == 2
    both = _npz(tmp_path / "b.npz", images=_IMAGES[:1], labels=_LABELS[:1], **own)
    assert len(load_evaluation(both, _SPEC).labels) == 1, "our own names come first"


@pytest.mark.parametrize("kind", [np.int64, np.uint16, np.int16])
def test_whole_pixels_of_another_type_are_converted(tmp_path: Path, kind: type) -> None:
    path = _npz(tmp_path / "a.npz", images=_IMAGES.astype(kind), labels=_LABELS)
    loaded = load_evaluation(path, _SPEC)
    assert np.array_equal(loaded.images.numpy(), _IMAGES.transpose(0, 3, 1, 2))
    assert survey_images(path) == Survey(3, 3, 8, 8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": _IMAGES}, "no array 'labels'"),
        ({"x_test": _IMAGES}, "no array 'y_test'"),
        ({"pixels": _IMAGES, "labels": _LABELS}, "no array 'images'.*\n.*\n  why: Its arrays are 'pixels', 'labels'"),
        ({"images": _IMAGES.astype(np.int64) - 1, "labels": _LABELS}, "pixels of the images run from -1 to 254,"),
        ({"images": _IMAGES.astype(np.int64) + 1, "labels": _LABELS}, "pixels of the images run from 1 to 256,"),
        ({"labels": _LABELS}, "no array 'images'"),
        ({"images": _IMAGES / 255, "labels": _LABELS}, "float64, not uint8"),
        ({"images": _IMAGES.transpose(0, 3, 1, 2), "labels": _LABELS}, "shape"),
        ({"images": _IMAGES, "labels": _LABELS[:3]}, "4 images but 3 labels"),
        ({"images": _IMAGES, "labels": _LABELS - 1}, "from -1 to 1"),
        ({"images": _IMAGES, "labels": _LABELS + 1}, "from 1 to 3"),
        ({"images": _IMAGES, "labels": _LABELS / 2}, "not whole numbers"),
        ({"images": _IMAGES[:0], "labels": _LABELS[:0]}, "no images"),
        ({"images": _IMAGES, "labels": np.array([None] * 4)}, r"'labels' holds Python objects[^$]*astype\(np.int64\)"),
        (
            {"images": _IMAGES, "labels": _LABELS, "classes": np.array(["a", "b", "c"], object)},
            r"'classes' holds Python objects[^$]*classes.astype\(str\)",
        ),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_evaluation(_npz(tmp_path / "a.npz", **arrays), _SPEC)


def test_names_of_classes_may_be_bytes(tmp_path: Path) -> None:
    names = np.array([b"stop", "grün".encode(), b"\xff"])
    path = _npz(tmp_path / "a.npz", images=_IMAGES, labels=_LABELS, classes=names)
    assert load_evaluation(path, _SPEC).class_names == ("stop", "grün", "\\xff")
    assert survey_images(path).class_names == ("stop", "grün", "\\xff")


def test_names_that_are_too_few_are_said_not_to_be_used(tmp_path: Path) -> None:
    path = _npz(tmp_path / "a.npz", images=_IMAGES, labels=_LABELS, classes=np.array(["a", "b"]))
    loaded = load_evaluation(path, _SPEC)
    (finding,) = loaded.findings
    assert loaded.class_names == () and finding.severity == "warning"
    assert finding.title == "Class names of the evaluation images are not used" and "names 2" in finding.detail
    (about_teacher,) = load_evaluation(path, _SPEC, class_names=("x", "y", "z")).findings
    assert "other classes than the teacher" in about_teacher.title


def test_an_array_that_claims_to_be_huge_is_refused_before_allocation(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w") as archive:
        header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000, 1000, 3), }".ljust(117) + "\n"
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    with pytest.raises(UsageError, match="too large"):
        load_evaluation(path, _SPEC)


def test_numbers_as_class_names_are_names_unless_each_is_its_index(tmp_path: Path) -> None:
    arrays = {"images": np.zeros((3, 8, 8, 3), np.uint8), "labels": np.array([0, 1, 2])}
    for numbers, names in (([3, 5, 7], ("3", "5", "7")), ([0, 1, 2], ())):
        np.savez(tmp_path / "set.npz", classes=np.array(numbers), **arrays)
        assert load_evaluation(tmp_path / "set.npz", _SPEC).class_names == names
    known = load_evaluation(tmp_path / "set.npz", _SPEC, class_names=("2", "1", "0"))
    assert known.labels.tolist() == [0, 1, 2], "an index is no name"


@pytest.mark.parametrize("classes", [np.ones(3), np.array([["a", "b", "c"]])])
def test_class_names_of_no_known_kind_are_refused(tmp_path: Path, classes: np.ndarray) -> None:
    np.savez(tmp_path / "set.npz", images=np.zeros((1, 8, 8, 3), np.uint8), labels=np.array([0]), classes=classes)
    with pytest.raises(UsageError, match=r"'classes' is .* not one name per class"):
        load_evaluation(tmp_path / "set.npz", _SPEC)
