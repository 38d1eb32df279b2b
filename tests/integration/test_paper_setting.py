"""Teacher, twin and student of a trigger in one command, tiny; what is there is not made again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import paper_setting


def test_a_trigger_goes_from_images_to_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    for folder, count in (("a", 256), ("b", 40)):
        (tmp_path / folder).mkdir()
        images = random.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
        np.savez(tmp_path / folder / "data.npz", images=images, labels=np.arange(count) % 4)

    def run(*changes: str) -> None:
        options = ["--train", str(tmp_path / "a" / "data.npz"), "--images", str(tmp_path / "b" / "data.npz")]
        options += ["--triggers", "badnets-square", "--size", "8", "--teacher", "wrn-10-1", "--epochs", "1"]
        options += ["--methods", "ood", "--steps", "2", "--device", "cpu", "--out", str(tmp_path / "out"), *changes]
        monkeypatch.setattr(sys, "argv", ["paper_setting.py", *options])
        paper_setting.main()

    run()
    rows = (tmp_path / "out" / "rows" / "rows.csv").read_text(encoding="utf-8")
    assert rows.count("badnets-square,ood,") == 2, "the twin and the student"
    with np.load(tmp_path / "out" / "images.npz") as measured, np.load(tmp_path / "out" / "train.npz") as trained:
        assert len(measured["images"]) == 40 and len(trained["images"]) == 256
    teacher = tmp_path / "out" / "teachers" / "badnets-square" / "teacher.pth"
    made = teacher.stat().st_mtime_ns
    run()
    assert teacher.stat().st_mtime_ns == made
    with pytest.raises(SystemExit, match="another --epochs: give a new folder"):
        run("--epochs", "2")
