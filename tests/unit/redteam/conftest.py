"""Three classes that a small network tells apart at once: which colour is bright."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

NAMES = ("red", "green|`blue", "blue")
SIDE_PX = 12


def coloured(count: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``(count, 12, 12, 3)`` uint8 images and labels."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = random.integers(0, 120, (count, SIDE_PX, SIDE_PX, 3))
    images[np.arange(count), :, :, labels] += 100
    return images.astype(np.uint8), labels


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """300 labelled images with class names, as an ``.npz``."""
    path = tmp_path_factory.mktemp("data") / "images.npz"
    images, labels = coloured(300, seed=0)
    np.savez(path, images=images, labels=labels, classes=np.array(NAMES))
    return str(path)


def save(path: Path, images: np.ndarray, labels: np.ndarray) -> str:
    """The path of an ``.npz``."""
    np.savez(path, images=images, labels=labels)
    return str(path)
