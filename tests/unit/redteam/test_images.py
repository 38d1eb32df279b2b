"""The images of an order: normalisation, the held-out part, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from abd_app.errors import UsageError
from abd_app.measure import fit
from abd_app.redteam import TeacherOrder
from abd_app.redteam.images import load_images, mean_and_std
from tests.unit.redteam.conftest import NAMES, coloured, save


def test_mean_and_std_are_those_of_the_pixels() -> None:
    images = torch.zeros(2, 3, 1, 2, dtype=torch.uint8)
    images[:, 0] = torch.tensor([0, 255])
    images[:, 1] = torch.tensor([51, 51])
    images[0, 2], images[1, 2] = 255, 102
    assert mean_and_std(images) == ((0.5, 0.2, 0.7), (0.5, round(1 / 255, 4), 0.3))


def test_a_tenth_of_each_class_is_held_out_and_not_trained_on(data_file: str) -> None:
    loaded = load_images(TeacherOrder(data_file, "out", seed=1))
    assert torch.bincount(loaded.test.labels).tolist() == [10, 10, 10]
    assert torch.bincount(loaded.training.labels).tolist() == [90, 90, 90]
    both = torch.cat([loaded.training.images, loaded.test.images]).flatten(1)
    assert len(both.unique(dim=0)) == 300
    assert loaded.class_names == NAMES
    assert (loaded.spec.height, loaded.spec.width, loaded.spec.channels, loaded.spec.num_classes) == (12, 12, 3, 3)
    assert (loaded.spec.mean, loaded.spec.std) == mean_and_std(loaded.training.images)
    other = load_images(TeacherOrder(data_file, "out", seed=2))
    assert not torch.equal(other.test.images, loaded.test.images)


def test_own_test_images_leave_all_others_to_the_training(data_file: str, tmp_path: Path) -> None:
    test = save(tmp_path / "test.npz", *coloured(9, seed=5))
    loaded = load_images(TeacherOrder(data_file, "out", test=test, input_size=(8, 16)))
    assert (len(loaded.training.images), len(loaded.test.images)) == (300, 9)
    assert loaded.training.images.shape[1:] == loaded.test.images.shape[1:] == (3, 8, 16)
    assert [finding.title.split(" have another size")[0] for finding in loaded.findings] == [
        "Training images",
        "Test images",
    ]


def test_every_finding_says_which_images_it_is_about(
    data_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "MAX_BYTES", 6 * 3 * 12 * 12)
    images, labels = coloured(9, seed=5)
    np.savez(tmp_path / "test.npz", images=images[..., 0], labels=labels, classes=np.array(["a", "b", "c"]))
    loaded = load_images(TeacherOrder(data_file, "out", test=str(tmp_path / "test.npz")))
    assert [finding.title for finding in loaded.findings] == [
        "6 of 300 training images are used",
        "Test images name other classes than the teacher",
        "6 of 9 test images are used",
        "Test images are converted to RGB",
    ]


def test_a_folder_names_its_classes_and_sets_size_and_colours(tmp_path: Path) -> None:
    for name, level in (("cat", 40), ("dog", 200)):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(np.full((10, 14), level + number, np.uint8)).save(tmp_path / name / f"{number}.png")
    loaded = load_images(TeacherOrder(str(tmp_path), "out"))
    assert loaded.class_names == ("cat", "dog")
    assert loaded.training.images.shape == (4, 1, 10, 14)
    assert sorted(loaded.test.labels.tolist()) == [0, 1]


def test_test_images_are_matched_to_the_training_folder_by_name(tmp_path: Path) -> None:
    for name, level in (("cat", 40), ("dog", 200)):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.fromarray(np.full((10, 14), level, np.uint8)).save(tmp_path / "data" / name / "0.png")
    levels = np.array([200, 40, 40], np.uint8)[:, None, None] * np.ones((1, 10, 14), np.uint8)
    np.savez(tmp_path / "test.npz", images=levels, labels=np.array([0, 1, 1]), classes=np.array(["dog", "cat"]))
    loaded = load_images(TeacherOrder(str(tmp_path / "data"), "out", test=str(tmp_path / "test.npz")))
    assert loaded.test.labels.tolist() == [1, 0, 0]


def test_an_archive_with_both_parts_is_learned_from_and_measured_on_by_part(tmp_path: Path) -> None:
    images, labels = coloured(30, seed=0)
    path = str(tmp_path / "both.npz")
    np.savez(path, x_train=images, y_train=labels, x_test=images[:12], y_test=labels[:12])
    loaded = load_images(TeacherOrder(path, "out", test=path))
    assert (len(loaded.training.labels), len(loaded.test.labels)) == (len(labels), 12)


def test_what_cannot_be_learned_from_is_refused_in_the_words_of_the_command(tmp_path: Path) -> None:
    images, labels = coloured(30, seed=0)
    gap = save(tmp_path / "gap.npz", images, np.where(labels == 1, 3, labels))
    single = save(tmp_path / "single.npz", images[:3], labels[:3])
    one_class = save(tmp_path / "one.npz", images, labels * 0)
    good = save(tmp_path / "good.npz", images, labels)
    tiny = save(tmp_path / "tiny.npz", images[:, :4, :4], labels)
    negative = save(tmp_path / "negative.npz", images, labels - 1)
    numbered = tmp_path / "numbered"
    _folders(numbered, ("0", "1", "2", "3"), side_px=12)
    bare = tmp_path / "bare --data"
    (bare / "0").mkdir(parents=True)
    broken = tmp_path / "broken"
    for name in ("0", "1"):
        (broken / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(broken / name / "0.png")
    (broken / "1" / "0.png").write_bytes(b"no picture")
    cases = (
        (TeacherOrder(gap, "out"), "no training images of class 1", f"DATA {gap}"),
        (TeacherOrder(single, "out"), "too few images", f"DATA {single}"),
        (TeacherOrder(one_class, "out"), "at least 2 classes", f"DATA {one_class}"),
        (TeacherOrder(tiny, "out"), "size 4x4 is out of range", f"DATA {tiny}"),
        (TeacherOrder(good, "out", input_size=(4, 4)), "size 4x4 is out of range", "--size"),
        (TeacherOrder(str(tmp_path / "absent"), "out"), "no labelled images", f"DATA {tmp_path / 'absent'}"),
        (TeacherOrder(str(bare), "out"), "hold no images", f"DATA {bare}"),
        (TeacherOrder(str(broken), "out"), "training image", f"DATA {broken / '1' / '0.png'}"),
        (TeacherOrder(good, "out", test=str(bare)), "hold no images", f"--test {bare}"),
        (TeacherOrder(good, "out", test=str(tmp_path / "absent")), "no images", f"--test {tmp_path / 'absent'}"),
        (TeacherOrder(good, "out", test=gap), "labels run from 0 to 3, DATA's classes from 0 to 2", f"--test {gap}"),
        (TeacherOrder(negative, "out"), "labels run from -1 to 1", f"DATA {negative}"),
        (TeacherOrder(good, "out", test=str(numbered)), "do not fit DATA's classes 0 to 2", f"--test {numbered}"),
    )
    for order, message, where in cases:
        with pytest.raises(UsageError, match=message) as caught:
            load_images(order)
        assert caught.value.where == where and caught.value.remedy
        assert "--classes" not in str(caught.value) and "the teacher" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "message", "why"),
    [
        (("4006381333931", "4006381333932"), "read as class indices up to 4006381333932", "100,000 classes"),
        (("20210301", "20210302"), "read as class indices up to 20210302", "100,000 classes"),
        (("0", "3"), "no training images of class 1, 2", "read as class indices up to 3"),
    ],
)
def test_folders_named_by_other_numbers_than_class_indices_are_said_to_be_read_as_such(
    tmp_path: Path, names: tuple[str, ...], message: str, why: str
) -> None:
    _folders(tmp_path, names, side_px=8)
    with pytest.raises(UsageError, match=message) as caught:
        load_images(TeacherOrder(str(tmp_path), "out"))
    assert caught.value.where == f"DATA {tmp_path}" and why in caught.value.why
    assert "Name the folders 0, 1, 2, ..." in caught.value.remedy


def test_a_name_without_images_is_not_called_a_label(tmp_path: Path) -> None:
    images, labels = coloured(30, seed=0)
    np.savez(tmp_path / "four.npz", images=images, labels=labels, classes=np.array(["a", "b", "c", "d"]))
    with pytest.raises(UsageError, match=r"no training images of class 'd'\.") as caught:
        load_images(TeacherOrder(str(tmp_path / "four.npz"), "out"))
    assert caught.value.why.startswith("4 classes are named, ")


def test_of_many_classes_without_images_some_are_named_and_the_others_counted(tmp_path: Path) -> None:
    images, labels = coloured(30, seed=0)
    np.savez(tmp_path / "ten.npz", images=images, labels=labels, classes=np.array(list("abcdefghij")))
    with pytest.raises(UsageError, match=r"of class 'd', 'e', 'f', 'g', 'h' and 2 more\."):
        load_images(TeacherOrder(str(tmp_path / "ten.npz"), "out"))


def test_an_empty_class_folder_is_called_by_its_name(tmp_path: Path) -> None:
    _folders(tmp_path, ("bird", "cat"), side_px=8)
    (tmp_path / "dog").mkdir()
    with pytest.raises(UsageError, match=r"no training images of class 'dog'\."):
        load_images(TeacherOrder(str(tmp_path), "out"))


def test_a_size_that_no_teacher_can_have_is_said_to_be_that_of_the_first_picture(tmp_path: Path) -> None:
    _folders(tmp_path, ("a", "b"), side_px=4)
    with pytest.raises(UsageError, match="4x4 is out of range") as caught:
        load_images(TeacherOrder(str(tmp_path), "out"))
    assert caught.value.where == f"DATA {tmp_path / 'a' / '0.png'}" and "first picture" in caught.value.why
    assert "--size" in caught.value.remedy


def _folders(root: Path, names: tuple[str, ...], *, side_px: int) -> None:
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (side_px, side_px)).save(root / name / f"{number}.png")
