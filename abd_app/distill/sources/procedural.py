"""Pictures drawn from nothing: dead leaves, gradients and textures, free of any licence question.

Networks learn useful features from such images (Baradad et al., "Learning to See by Looking at Noise", NeurIPS 2021);
here they are the unrelated picture from which the ``ood`` source cuts its patches.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

_Colour = tuple[int, int, int]
_Points = list[tuple[float, float]]

_SUPERSAMPLING = 2
_THREADS = 4  # more would wait for Python's lock


def draw_canvases(count: int, size_px: int, *, seed: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Pictures of occluding shapes over textures, one after the other, the same for the same seed.

    Args:
        count: Pictures.
        size_px: Height and width.
        seed: Of all randomness.

    Yields:
        ``(size_px, size_px, 3)`` uint8 RGB; of a seed the first ones are the same, however many follow.
    """
    rng, begun = np.random.default_rng(seed), deque[Future[npt.NDArray[np.uint8]]]()
    with ThreadPoolExecutor(_THREADS) as threads:  # Pillow and NumPy compute beside each other
        for _ in range(count):
            begun.append(threads.submit(_begin_canvas(size_px, rng)))
            if len(begun) > _THREADS:  # more that are begun would only take memory
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


def _begin_canvas(size_px: int, rng: np.random.Generator) -> Callable[[], npt.NDArray[np.uint8]]:
    """Draws the ground of one picture and all that ``rng`` is needed for; what is returned draws the rest."""
    side = size_px * _SUPERSAMPLING
    palette = _palette(rng)
    canvas = Image.fromarray(_texture(side, palette, rng))
    # Radii follow r^-3 between two bounds: the scale-invariant dead-leaves law (Lee, Mumford & Huang, 2001).
    smallest, largest = _SUPERSAMPLING * math.exp(rng.uniform(math.log(3), math.log(12))), side / 5
    count = int(min(2500, 0.6 * side**2 / smallest**2))
    uniform = rng.random(count)
    radii = 1 / np.sqrt(uniform / smallest**2 + (1 - uniform) / largest**2)
    radii[: count // 2] = np.sort(radii[: count // 2])[::-1]
    textures = [Image.fromarray(_texture(side // 2, palette, rng)) for _ in range(4)]
    colours = [(int(red), int(green), int(blue)) for red, green, blue in palette]
    one_by_one = random.Random(int(rng.integers(2**63)))  # tens of times faster than NumPy for single numbers

    def finish() -> npt.NDArray[np.uint8]:
        for radius in radii:
            _draw_leaf(canvas, float(radius), colours, textures, one_by_one)
        return np.array(canvas.resize((size_px, size_px), Image.Resampling.BOX), dtype=np.uint8)

    return finish


def _palette(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """``(24, 3)`` uint8: free colours, shades of a few hues, greys, saturated corners; half the pictures are muted."""
    free = rng.integers(0, 256, (8, 3))
    base = rng.integers(0, 256, (3, 3))[rng.integers(0, 3, 6)]
    shades = np.clip(base * rng.uniform(0.3, 1.7, (6, 1)), 0, 255)
    greys = np.repeat(rng.integers(0, 256, (5, 1)), 3, axis=1)
    corners = 255 * rng.integers(0, 2, (5, 3))
    palette = np.concatenate([free, shades, greys, corners]).astype(float)
    saturation = rng.choice([1.0, rng.uniform(0.2, 0.8)])
    grey = palette.mean(axis=1, keepdims=True)
    return np.asarray((grey + saturation * (palette - grey)).clip(0, 255), dtype=np.uint8)


def _texture(side: int, palette: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """``(side, side, 3)`` uint8: a blend of two colours by a gradient, a wave or noise with a power-law spectrum."""
    y, x = np.mgrid[0:side, 0:side] / side
    angle = rng.uniform(0, 2 * math.pi)
    along = x * math.cos(angle) + y * math.sin(angle)
    kind = rng.integers(4)
    if kind == 0:
        mix = along
    elif kind == 1:
        mix = 0.5 + 0.5 * np.sin(2 * math.pi * along * rng.uniform(8, 64))
    elif kind == 2:
        mix = (np.sin(2 * math.pi * along * rng.uniform(8, 48)) > 0).astype(float)
    else:
        mix = _power_law_noise(side, exponent=rng.uniform(0.8, 2.0), rng=rng)
    mix = (mix - mix.min()) / max(float(np.ptp(mix)), 1e-9)
    first, second = palette[rng.integers(len(palette), size=2)].astype(float)
    image = first * (1 - mix[..., None]) + second * mix[..., None]
    image += rng.normal(0, rng.uniform(0, 12), image.shape)
    return np.asarray(image.clip(0, 255), dtype=np.uint8)


def _power_law_noise(side: int, *, exponent: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Noise whose amplitude spectrum falls as 1 / f^exponent, the law of natural images near exponent 1."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    frequency[0, 0] = 1 / side
    spectrum = np.fft.rfft2(rng.normal(size=(side, side))) / frequency**exponent
    return np.fft.irfft2(spectrum, s=(side, side))


def _draw_leaf(
    canvas: Image.Image, radius: float, palette: list[_Colour], textures: list[Image.Image], rng: random.Random
) -> None:
    side = canvas.width
    centre = (rng.uniform(-radius, side + radius), rng.uniform(-radius, side + radius))
    points = [(centre[0] + px, centre[1] + py) for px, py in _outline(radius, rng)]
    edge = rng.choice(palette) if rng.random() < 0.4 else None
    width = max(1, int(radius * rng.uniform(0.08, 0.35)))
    if radius > 6 and rng.random() < 0.3:
        _paste(canvas, points, rng.choice(textures))
        return
    draw = ImageDraw.Draw(canvas)
    if rng.random() < 0.15:
        draw.line(points[: max(2, len(points) // 2)], fill=rng.choice(palette), width=width, joint="curve")
        return
    draw.polygon(points, fill=rng.choice(palette))
    if edge is not None:
        draw.line([*points, points[0]], fill=edge, width=width, joint="curve")
    if radius > 4 and rng.random() < 0.5:
        _draw_inner(draw, points, centre, palette, rng)


def _paste(canvas: Image.Image, points: _Points, texture: Image.Image) -> None:
    """The texture, squeezed into the box around the outline, within the outline."""
    left, top = (math.floor(min(axis)) for axis in zip(*points, strict=True))
    right, bottom = (math.ceil(max(axis)) for axis in zip(*points, strict=True))
    mask = Image.new("L", (right - left + 1, bottom - top + 1), 0)
    ImageDraw.Draw(mask).polygon([(px - left, py - top) for px, py in points], fill=255)
    canvas.paste(texture.resize(mask.size, reducing_gap=1.0), (left, top), mask)


def _draw_inner(
    draw: ImageDraw.ImageDraw,
    points: _Points,
    centre: tuple[float, float],
    palette: list[_Colour],
    rng: random.Random,
) -> None:
    """A smaller copy of the shape in it, or a few strokes: things have rims and marks."""
    shrink, (cx, cy) = rng.uniform(0.5, 0.85), centre
    if rng.random() < 0.6:
        inner = [(cx + (px - cx) * shrink, cy + (py - cy) * shrink) for px, py in points]
        draw.polygon(inner, fill=rng.choice(palette))
    across = [px for px, _ in points]
    extent = max(across) - min(across)
    for _ in range(rng.randrange(4)):
        stroke = [
            (cx + rng.gauss(0, 0.2 * extent), cy + rng.gauss(0, 0.2 * extent)) for _ in range(rng.randrange(2, 5))
        ]
        width = max(1, int(extent * rng.uniform(0.04, 0.15)))
        draw.line(stroke, fill=rng.choice(palette), width=width, joint="curve")


def _outline(radius: float, rng: random.Random) -> _Points:
    """Corners around the origin: an ellipse, a regular or irregular polygon, or a bar, rotated."""
    kind = rng.randrange(4)
    corners = 20 if kind == 0 else rng.randrange(3, 9)
    angles = [2 * math.pi * corner / corners for corner in range(corners)]
    if kind == 2:
        angles = sorted(rng.uniform(0, 2 * math.pi) for _ in range(corners))
    if kind == 3:
        half = rng.uniform(0.1, 1)
        shape = [(-1.0, -half), (1.0, -half), (1.0, half), (-1.0, half)]
    else:
        squeezed = rng.uniform(0.4, 1) if rng.random() < 0.5 else 1.0
        shape = [(math.cos(angle), squeezed * math.sin(angle)) for angle in angles]
    turn = rng.uniform(0, 2 * math.pi)
    along, across = radius * math.cos(turn), radius * math.sin(turn)
    return [(px * along - py * across, px * across + py * along) for px, py in shape]
