"""The curves as table and pictures."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from abd_app.events import Measured
from abd_app.export.curves import write_curves

_MEASURED = [
    Measured("teacher", 0, 0.97, 1000, {"sticker": 0.99}, {"sticker": 900}),
    Measured("student", 100, 0.5, 1000, {"sticker": 0.02}, {"sticker": 900}),
    Measured("twin", 100, 0.6, 1000, {"sticker": 0.7}, {"sticker": 900}),
    Measured("student", 200, float("nan"), 1000, {"sticker": 0.01, "blend": 0.25}, {"sticker": 900, "blend": 900}),
]


def test_the_table_has_one_row_per_measurement_and_denominators(tmp_path: Path) -> None:
    write_curves(_MEASURED, tmp_path)
    with (tmp_path / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["role"] for row in rows] == ["teacher", "student", "twin", "student"]
    assert rows[0]["asr:sticker"] == "0.99" and rows[0]["asr_images:sticker"] == "900"
    assert rows[0]["asr:blend"] == "" and rows[3]["asr:blend"] == "0.25"
    assert rows[3]["accuracy"] == "" and rows[3]["step"] == "200"


def test_the_pictures_are_whole_and_the_same_each_time(tmp_path: Path) -> None:
    write_curves(_MEASURED, tmp_path)
    first = (tmp_path / "curves.svg").read_bytes()
    assert ElementTree.fromstring(first).tag.endswith("svg")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1200, 900)
    write_curves(_MEASURED, tmp_path)
    assert (tmp_path / "curves.svg").read_bytes() == first
    assert sorted(file.name for file in tmp_path.iterdir()) == ["curves.png", "curves.svg", "metrics.csv"]


@pytest.mark.parametrize(
    "name", ["$\\frac$", "_hidden.png", "--><script>alert(1)</script>", "名前\n\u202e.png", "a" * 300]
)
def test_odd_trigger_names_neither_break_nor_enter_the_picture_as_markup(tmp_path: Path, name: str) -> None:
    write_curves([Measured("student", 1, 0.5, 10, {name: 0.5}, {name: 9})], tmp_path)
    tree = ElementTree.fromstring((tmp_path / "curves.svg").read_bytes())
    assert not [node for node in tree.iter() if str(node.tag).endswith("script")]


def test_nothing_measured_gives_empty_axes(tmp_path: Path) -> None:
    write_curves([], tmp_path)
    assert (tmp_path / "curves.svg").stat().st_size > 1000
    assert (tmp_path / "metrics.csv").read_text() == "step,role,accuracy,images,estimated\n"


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = (
        "import sys, abd_app.export.report, abd_app.export.curves, abd_app.export.verdict\n"
        "print([name for name in ('torch', 'matplotlib', 'onnx', 'onnxruntime', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
