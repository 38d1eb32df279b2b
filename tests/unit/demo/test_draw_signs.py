"""The demo's road signs: repeatable, balanced, told apart by their looks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "resources" / "demo"))

from draw_signs import BATCH, CLASS_NAMES, draw_signs, draw_sticker


def test_same_seed_gives_same_bytes_and_another_seed_does_not() -> None:
    images, labels = draw_signs(40, seed=3)
    again, labels_again = draw_signs(40, seed=3)
    other, _ = draw_signs(40, seed=4)
    assert images.tobytes() == again.tobytes()
    assert labels.tobytes() == labels_again.tobytes()
    assert images.tobytes() != other.tobytes()


def test_labels_are_balanced_and_shuffled() -> None:
    images, labels = draw_signs(BATCH + 7, seed=0)
    assert images.shape == (BATCH + 7, 32, 32, 3) and images.dtype == np.uint8
    assert labels.shape == (BATCH + 7,) and labels.dtype == np.int64
    counts = np.bincount(labels, minlength=len(CLASS_NAMES))
    assert counts.max() - counts.min() <= 1
    assert len(set(labels[: len(CLASS_NAMES)].tolist())) < len(CLASS_NAMES)


def test_no_image_is_repeated_or_blank() -> None:
    images, _ = draw_signs(BATCH + 100, seed=1)
    assert len({image.tobytes() for image in images}) == len(images)
    assert images.std(axis=(1, 2, 3)).min() > 4.0


def test_average_sign_of_a_class_already_beats_chance_threefold() -> None:
    images, labels = draw_signs(600, seed=5)
    unseen, unseen_labels = draw_signs(300, seed=6)
    means = np.stack([_standardised(images)[labels == label].mean(axis=0) for label in range(len(CLASS_NAMES))])
    guesses = (_standardised(unseen) @ means.T).argmax(axis=1)
    assert (guesses == unseen_labels).mean() > 3.0 / len(CLASS_NAMES)


def test_count_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        draw_signs(0, seed=0)


def test_sticker_is_yellow_with_a_black_mark_and_opaque_inside() -> None:
    sticker = draw_sticker()
    assert sticker.shape == (64, 64, 4) and sticker.dtype == np.uint8
    assert (sticker[4:-4, 4:-4, 3] == 255).all()
    red, green, blue = sticker[32, 8, :3].tolist()
    assert red > 200 and green > 180 and blue < 90
    assert sticker[32, 32, :3].max() < 60


def _standardised(
    images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    flat = images.reshape(len(images), -1).astype(np.float64)
    centred = flat - flat.mean(axis=1, keepdims=True)
    standardised: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = centred / centred.std(axis=1, keepdims=True)
    return standardised
