"""Pictures of the kinds that are read, and refusals of those whose pixels cannot be told or held."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, TiffImagePlugin

from abd_app.errors import UsageError
from abd_app.pictures import open_picture

_RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def _opened(path: Path, *, turned: bool = False) -> np.ndarray:
    return np.asarray(open_picture(path, what="evaluation image", option="--data", turned=turned))


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_tiff_is_read_as_it_was_written(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "a.tif"
    colours = np.stack([_RAMP, _RAMP.T, 255 - _RAMP], axis=2)
    for pixels in (_RAMP, colours):
        Image.fromarray(pixels).save(path, compression=compression)
        assert np.array_equal(_opened(path), pixels)
    Image.fromarray(_RAMP.astype(np.uint16) * 257).save(path, compression=compression)
    assert np.array_equal(_opened(path), _RAMP)


def test_of_a_tiff_with_several_pages_the_first_is_read(tmp_path: Path) -> None:
    first, second = Image.fromarray(_RAMP), Image.new("L", (30, 20), 7)
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    assert np.array_equal(_opened(tmp_path / "a.tif"), _RAMP)


@pytest.mark.parametrize("turned", [True, False])
def test_tiff_is_turned_as_pillow_always_turns_it(tmp_path: Path, turned: bool) -> None:
    """So does torchvision's ImageFolder, which opens it with Pillow."""
    Image.fromarray(_RAMP).save(tmp_path / "a.tif", tiffinfo={ExifTags.Base.Orientation: 6})
    assert np.array_equal(_opened(tmp_path / "a.tif", turned=turned), np.rot90(_RAMP, -1))


@pytest.mark.parametrize("pixels", [_RAMP / np.float32(255), _RAMP.astype(np.int32)])
def test_pixels_whose_white_is_not_known_are_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    with pytest.raises(UsageError, match="not of 8 or 16 bits"):
        _opened(tmp_path / "a.tif")


@pytest.mark.parametrize("tags", [("IMAGEWIDTH", "IMAGELENGTH"), ("TILEWIDTH", "TILELENGTH")])
def test_a_tiff_that_claims_to_be_huge_is_refused_before_allocation(tmp_path: Path, tags: tuple[str, str]) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(_RAMP).save(path, tiffinfo={TiffImagePlugin.TILEWIDTH: 8, TiffImagePlugin.TILELENGTH: 8})
    entries = TiffImagePlugin.ImageFileDirectory_v2()
    with Image.open(path) as picture:
        assert isinstance(picture, TiffImagePlugin.TiffImageFile)
        entries.update(picture.tag_v2)
    entries[TiffImagePlugin.TILEOFFSETS], entries[TiffImagePlugin.TILEBYTECOUNTS] = (0,), (64,)
    for tag in tags:
        entries[getattr(TiffImagePlugin, tag)] = 10_000
    with path.open("wb") as stream:
        stream.write(b"II*\0\x08\0\0\0")
        entries.save(stream)
    with pytest.raises(UsageError, match="is too large: 10000 x 10000"):
        _opened(path)


def test_a_cut_tiff_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path, compression="tiff_lzw")
    whole = path.read_bytes()
    for cut in (10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:cut])
        with pytest.raises(UsageError, match="cannot be read"):
            _opened(path)


def test_a_picture_behind_a_closed_folder_is_refused_in_plain_words(closed_folder: Path) -> None:
    with pytest.raises(UsageError, match=r"The trigger picture cannot be read\.") as refused:
        open_picture(closed_folder / "a.png", what="trigger picture", option="--trigger")
    assert "Permission denied" in refused.value.why
