"""Opens pictures that a user hands in: evaluation images, triggers and masks, and what patches are cut from."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, TiffImagePlugin

from abd_app.errors import UsageError

PICTURE_SUFFIXES = frozenset(
    (
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".gif", ".tif", ".tiff"),
        *(".ppm", ".pgm", ".pbm", ".pnm"),
    )
)
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "PPM", "TIFF")
_MAX_PIXELS = 50_000_000
_BITS, _UNSIGNED = {1, 2, 4, 8, 16}, {1}
"""Per channel, and TIFF's number for whole numbers from 0; of others it is not known what is white."""


def open_picture(path: Path, *, what: str, option: str, turned: bool = True) -> Image.Image:
    """A fully decoded picture, its mode one of ``L``, ``RGB``, ``RGBA``; of a file with several, the first.

    Args:
        what: What the picture is to the user, e.g. ``trigger picture``.
        option: The command-line option that named it.
        turned: Whether it is turned as its EXIF data says, as viewers show it. torchvision's ``ImageFolder``, with
            which teachers are trained, does not.

    Raises:
        UsageError: There is no such file, it may not be read, it is no picture, or it is larger than 50 megapixels.
    """
    try:
        if not path.is_file():
            raise UsageError(
                f"The {what} does not exist or is not a file.",
                where=f"{option} {path}",
                remedy="Give the path of a PNG or JPEG file.",
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about size and odd metadata; size is checked below
            with Image.open(path, formats=_FORMATS) as opened:
                _check_size(opened, path, what=what, option=option)
                _check_bits(opened, path, what=what, option=option)
                return _eight_bit(_upright(opened) if turned else opened)
    except UsageError:
        raise
    except Exception as error:  # Pillow's decoders raise many types on damaged files
        raise UsageError(
            f"The {what} cannot be read.",
            where=f"{option} {path}",
            why=str(error) or type(error).__name__,
            remedy="Replace or remove it; PNG, JPEG, TIFF, BMP, WebP, GIF and PPM are understood.",
        ) from error


def fit_picture(picture: Image.Image, *, height: int, width: int, channels: int) -> npt.NDArray[np.uint8]:
    """The picture as ``(channels, height, width)`` uint8, in grey or RGB.

    Another size is resized with antialiasing until it covers the target, then cropped around the centre.
    """
    converted = picture.convert("L" if channels == 1 else "RGB")
    if converted.size != (width, height):
        converted = ImageOps.fit(converted, (width, height), method=Image.Resampling.BILINEAR)
    pixels = np.asarray(converted, dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _check_size(picture: Image.Image, path: Path, *, what: str, option: str) -> None:
    width, height = picture.size
    if isinstance(picture, TiffImagePlugin.TiffImageFile):  # whose tiles may be larger than the picture
        width = max(width, picture.tag_v2.get(TiffImagePlugin.TILEWIDTH, 0))
        height = max(height, picture.tag_v2.get(TiffImagePlugin.TILELENGTH, 0))
    if width * height > _MAX_PIXELS:
        raise UsageError(
            f"The {what} is too large: {width} x {height} pixels.",
            where=f"{option} {path}",
            remedy=f"Use one of at most {_MAX_PIXELS // 1_000_000} megapixels.",
        )


def _check_bits(picture: Image.Image, path: Path, *, what: str, option: str) -> None:
    """Refuses numbers of which it is not known what is white."""
    understood = picture.mode != "F"
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        tags = picture.tag_v2
        kinds = set(tags.get(TiffImagePlugin.SAMPLEFORMAT, ()))
        understood = understood and kinds <= _UNSIGNED and set(tags.get(TiffImagePlugin.BITSPERSAMPLE, ())) <= _BITS
    if not understood:
        raise UsageError(
            f"The {what} has pixels that are not of 8 or 16 bits.",
            where=f"{option} {path}",
            why="Which of its numbers is white cannot be told.",
            remedy="Save it with 8 bits a channel.",
        )


def _upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF data says; as it lies where that is damaged."""
    with contextlib.suppress(Exception):  # Pillow's reader of EXIF raises many types
        return ImageOps.exif_transpose(picture)
    return picture


def _eight_bit(picture: Image.Image) -> Image.Image:
    """The picture in ``L``, ``RGB`` or ``RGBA``."""
    if picture.mode.startswith("I"):  # 16-bit grey, which convert() would clip to white
        return Image.fromarray((np.asarray(picture) // 257).clip(0, 255).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        return picture.convert("RGBA")
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")
