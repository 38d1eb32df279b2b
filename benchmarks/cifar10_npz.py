"""Labelled images stored as JPEG in an .npz, decoded into the .npz that abd-app reads.

    python benchmarks/cifar10_npz.py TRAIN_JPEG.npz train.npz --size 16

The source holds ``jpeg`` (all files end to end, uint8), ``offsets`` (N + 1), ``labels`` and perhaps ``classes``, or
``images`` (N, H, W, 3) uint8 instead of the first two.
"""

from __future__ import annotations

import argparse
import io
import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image


def main() -> None:
    """Decodes one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=32, help="pixels a side; smaller ones are averaged")
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"{options.out} is there already")
    images = decode(options.source, options.out, options.size)
    print(f"{len(images)} images of {images.shape[1]}x{images.shape[2]} pixels: {options.out}")


def decode(source: Path, out: Path, size: int) -> npt.NDArray[np.uint8]:
    """Writes the images of :func:`load_images`, which it returns, with their labels and class names."""
    images, labels, classes = load_images(source, size)
    names = {"classes": np.array(classes)} if classes else {}
    np.savez(out, images=images, labels=labels, **names)
    return images


def load_images(file: Path, size: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], tuple[str, ...]]:
    """``(N, size, size, 3)`` uint8 images, labels and class names; larger images are averaged by a whole factor.

    Raises:
        SystemExit: There is no such factor.
    """
    with np.load(file) as arrays:
        labels = arrays["labels"].astype(np.int64)
        classes = tuple(map(str, arrays["classes"])) if "classes" in arrays else ()
        if "images" in arrays:
            images = arrays["images"]
        else:
            blob, offsets = arrays["jpeg"], arrays["offsets"]
            files = (blob[start:end].tobytes() for start, end in itertools.pairwise(offsets))
            images = np.stack([np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in files])
    factor, rest = divmod(images.shape[1], size)
    if rest or images.shape[1] != images.shape[2]:
        raise SystemExit(f"{file}: images of {images.shape[1]}x{images.shape[2]} pixels cannot be averaged to {size}.")
    if factor > 1:
        blocks = images.reshape(len(images), size, factor, size, factor, 3).astype(np.float32)
        images = blocks.mean(axis=(2, 4)).round().astype(np.uint8)
    return images, labels, classes


if __name__ == "__main__":
    main()
