"""The demo's labelled images name their classes in the way that the app reads, as shipped and as made again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "resources" / "demo"))

import make_demo
from draw_signs import CLASS_NAMES

from abd_app.assets import asset
from abd_app.demo import TARGET_CLASS
from abd_app.measure.arrays import read_arrays
from abd_app.measure.given import GivenImages


def test_the_shipped_images_name_the_classes() -> None:
    images, labels, names = read_arrays(GivenImages(asset("demo/evaluation.npz")), num_classes=len(CLASS_NAMES))
    assert images.shape == (1000, 32, 32, 3) and set(labels.tolist()) == set(range(10))
    assert names == tuple(CLASS_NAMES) and names[TARGET_CLASS] == "turn right"


def test_images_that_are_made_again_name_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_demo, "TRAINING_IMAGES", 60)
    monkeypatch.setattr(make_demo, "EVALUATION_IMAGES", 20)
    monkeypatch.setattr(sys, "argv", ["make_demo.py", "--steps", "1", "--out", str(tmp_path)])
    make_demo.main()
    images, _, names = read_arrays(GivenImages(tmp_path / "evaluation.npz"), num_classes=len(CLASS_NAMES))
    assert len(images) == 20 and names == tuple(CLASS_NAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluation.npz", "sticker.png", "teacher.safetensors"]
