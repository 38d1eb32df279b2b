"""The pictures behind ``ood``: the user's own, or procedural ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from abd_app.distill.sources import pictures
from abd_app.distill.sources.pictures import drawn_pictures, load_picture, procedural_patches, procedural_pictures
from abd_app.errors import UsageError
from abd_app.teacher import ImageSpec


def _save(path: Path, height: int, width: int) -> str:
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, : width // 2] = (255, 0, 0)
    Image.fromarray(pixels).save(path)
    return str(path)


def test_the_centre_square_of_the_picture_is_taken(tmp_path: Path) -> None:
    loaded = load_picture(_save(tmp_path / "wide.png", 20, 60), channels=3, smallest_px=8)
    assert loaded.shape == (1, 3, 20, 20) and loaded.dtype == torch.uint8
    assert loaded[0, 0, :, :10].unique().tolist() == [255] and loaded[0, 0, :, 10:].unique().tolist() == [0]
    assert loaded[0, 1:].unique().tolist() == [0]


def test_a_grey_teacher_gets_luminance(tmp_path: Path) -> None:
    loaded = load_picture(_save(tmp_path / "wide.png", 20, 20), channels=1, smallest_px=8)
    assert loaded.shape == (1, 1, 20, 20)
    assert loaded.unique().tolist() == [0, 76]  # 0.299 of red


def test_sixteen_bit_grey_keeps_its_scale(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 20), 128 * 257, dtype=np.uint16)).save(tmp_path / "a.png")
    assert load_picture(str(tmp_path / "a.png"), channels=3, smallest_px=8).unique().tolist() == [128]


def test_damaged_exif_data_is_no_reason_to_refuse_a_picture(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 20), 7, dtype=np.uint8)).save(tmp_path / "a.png", exif=b"no EXIF data at all")
    assert load_picture(str(tmp_path / "a.png"), channels=1, smallest_px=8).unique().tolist() == [7]


def test_a_huge_picture_is_made_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "LARGEST_SIDE_PX", 32)
    assert load_picture(_save(tmp_path / "big.png", 90, 70), channels=3, smallest_px=8).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n broken"])
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.png"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="cannot be read") as caught:
        load_picture(str(path), channels=3, smallest_px=8)
    assert caught.value.where == f"--picture {path}" and caught.value.why and caught.value.remedy


def test_no_interpreter_is_started_for_what_calls_itself_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = list[object]()
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given: started.append(given))
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n")
    with pytest.raises(UsageError, match="cannot be read"):
        load_picture(str(tmp_path / "a.png"), channels=3, smallest_px=8)
    assert not started


def test_a_cut_off_picture_and_a_wrong_path_are_refused(tmp_path: Path) -> None:
    whole = Path(_save(tmp_path / "whole.png", 64, 64))
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:-40])
    for path, message, why in (
        (cut, "cannot be read", "truncated"),
        (tmp_path / "absent.png", "does not exist or is not a file", ""),
        (tmp_path, "does not exist or is not a file", ""),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            load_picture(str(path), channels=3, smallest_px=8)
        assert caught.value.where == f"--picture {path}" and why in caught.value.why


def test_a_picture_smaller_than_two_patches_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "small.png", 15, 100)
    with pytest.raises(UsageError, match="too small: 100 x 15"):
        load_picture(path, channels=3, smallest_px=8)
    assert load_picture(path, channels=3, smallest_px=7).shape == (1, 3, 15, 15)


def test_procedural_pictures_are_large_enough_and_patches_deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "PROCEDURAL_SIDE_PX", 32)
    monkeypatch.setattr(pictures, "PROCEDURAL_PICTURES", 2)
    assert procedural_pictures(channels=3, seed=91, smallest_px=8).shape == (2, 3, 32, 32)
    assert procedural_pictures(channels=1, seed=92, smallest_px=10).shape == (2, 1, 40, 40)
    spec = ImageSpec(8, 6, 1, 4, (0.5,), (0.5,))
    first = procedural_patches(11, spec, seed=93)
    assert first.shape == (11, 1, 8, 6) and first.dtype == torch.uint8
    assert torch.equal(first, procedural_patches(11, spec, seed=93))
    assert not torch.equal(first, procedural_patches(11, spec, seed=94))


def test_the_share_that_is_drawn_is_told_once_and_fewer_are_a_part_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "PROCEDURAL_SIDE_PX", 32)
    monkeypatch.setattr(pictures, "PROCEDURAL_PICTURES", 4)
    few = procedural_pictures(channels=3, seed=95, smallest_px=8, count=2)
    assert list(drawn_pictures(channels=3, seed=95, smallest_px=8)) == [0.25, 0.5, 0.75, 1]
    assert list(drawn_pictures(channels=3, seed=95, smallest_px=8)) == [], "they are kept"
    monkeypatch.setattr(pictures, "draw_canvases", None)
    assert torch.equal(procedural_pictures(channels=3, seed=95, smallest_px=8, count=2), few)
    procedural_patches(5, ImageSpec(8, 8, 3, 4, (0.5,) * 3, (0.5,) * 3), seed=95, pictures_count=2)


def test_two_sets_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "PROCEDURAL_SIDE_PX", 16)
    monkeypatch.setattr(pictures, "PROCEDURAL_PICTURES", 1)
    for seed in (96, 97, 98):
        procedural_pictures(channels=3, seed=seed, smallest_px=4)
    again = [len(list(drawn_pictures(channels=3, seed=seed, smallest_px=4))) for seed in (98, 97, 96)]
    assert again == [0, 0, 1]


def _chessboard(side: int) -> torch.Tensor:
    """Of which the first level of a pyramid has all contrast, and the others are grey."""
    board = (torch.arange(side)[:, None] + torch.arange(side)) % 2 * 255
    return board.to(torch.uint8).expand(1, 3, side, side)


def test_patches_for_checks_come_from_all_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "procedural_pictures", lambda **_: _chessboard(64))
    for seed in range(5):
        patches = procedural_patches(96, ImageSpec(8, 8, 3, 4, (0.5,) * 3, (0.5,) * 3), seed=seed).float() / 255
        assert patches.shape == (96, 3, 8, 8)
        contrast = patches.flatten(1).std(dim=1)
        assert contrast.min() < 0.02 and contrast.max() > 0.1
