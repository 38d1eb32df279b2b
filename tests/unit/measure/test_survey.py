"""What labelled images are at a glance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from abd_app.errors import UsageError
from abd_app.measure import load_evaluation
from abd_app.measure.survey import Survey, survey_images
from abd_app.teacher import ImageSpec


def test_an_npz_tells_its_classes_and_sizes(tmp_path: Path) -> None:
    grey, named = tmp_path / "grey.npz", tmp_path / "named.npz"
    np.savez(grey, images=np.zeros((4, 9, 7), np.uint8), labels=np.array([0, 4, 1, 1]))
    np.savez(named, images=np.zeros((2, 9, 7, 3), np.uint8), labels=np.array([0, 1]), classes=np.array(["a", "b", "c"]))
    assert survey_images(grey) == Survey(5, 1, 9, 7)
    assert survey_images(named) == Survey(3, 3, 9, 7, ("a", "b", "c"))


def test_folders_are_classes_by_number_or_by_name(tmp_path: Path) -> None:
    for root, names in (("numbers", ("0", "5")), ("names", ("b", "a"))):
        for name in names:
            (tmp_path / root / name).mkdir(parents=True)
            Image.new("RGB", (6, 8)).save(tmp_path / root / name / "1.png")
    numbers, names = tmp_path / "numbers", tmp_path / "names"
    assert survey_images(numbers) == Survey(6, 3, 8, 6, (), numbers / "0" / "1.png")
    assert survey_images(names) == Survey(2, 3, 8, 6, ("a", "b"), names / "a" / "1.png")


def test_a_picture_has_the_size_in_which_it_is_learned_from_not_that_of_its_exif_data(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (6, 8)).save(tmp_path / name / "1.jpg", exif=turned)
    survey = survey_images(tmp_path)
    assert (survey.height, survey.width) == (8, 6)
    spec = ImageSpec(survey.height, survey.width, 3, 2, (0.0,) * 3, (1.0,) * 3)
    assert load_evaluation(tmp_path, spec).findings == ()


def test_what_is_no_set_of_labelled_images_is_refused(tmp_path: Path) -> None:
    wide = tmp_path / "wide.npz"
    np.savez(wide, images=np.zeros((2, 3, 4, 5), np.uint8), labels=np.array([0, 1]))
    (tmp_path / "empty").mkdir()
    negative = tmp_path / "negative.npz"
    np.savez(negative, images=np.zeros((1, 4, 4), np.uint8), labels=np.array([-1]))
    for path, message in (
        (wide, "have the shape"),
        (negative, "labels run from -1"),
        (tmp_path / "empty", "no class folders"),
        (tmp_path / "absent", "no labelled images"),
        (Path(__file__), "cannot be read"),
    ):
        with pytest.raises(UsageError, match=message):
            survey_images(path)


def test_images_behind_a_closed_folder_are_refused_in_plain_words(closed_folder: Path) -> None:
    with pytest.raises(UsageError, match="cannot be looked at") as refused:
        survey_images(closed_folder / "images", option="DATA")
    assert refused.value.where == f"DATA {closed_folder / 'images'}"
