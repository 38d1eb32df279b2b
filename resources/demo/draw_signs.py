"""Draw small synthetic road signs: the labelled images behind the demo teacher, and the sticker that poisons it.

A clean sign is drawn once per class (sign_shapes.py); an image is that sign warped onto a random scene, then seen
through random light, blur and sensor noise. Bytes repeat per seed for the same versions of NumPy and Pillow.

    python draw_signs.py contact_sheet.png
"""

from __future__ import annotations

import math
import sys

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from sign_shapes import BLACK, SIGNS, Colour, Pen, rectangle

Floats = NDArray[np.float32]

SIZE_PX = 32
SUPERSAMPLING = 4
CANVAS_PX = SIZE_PX * SUPERSAMPLING
STICKER_PX = 64
BATCH = 500  # bounds the memory of the float copies

CLASS_NAMES: tuple[str, ...] = tuple(SIGNS)

# Top colour, bottom colour, texture contrast, texture cells per side.
_PLACES: tuple[tuple[Colour, Colour, float, int], ...] = (
    ((120, 170, 225), (205, 222, 238), 8.0, 6),  # open sky
    ((190, 196, 204), (150, 156, 160), 12.0, 8),  # overcast
    ((70, 105, 50), (48, 74, 34), 34.0, 20),  # foliage
    ((150, 190, 230), (80, 100, 56), 22.0, 14),  # sky above a hedge
    ((150, 92, 72), (120, 76, 62), 22.0, 24),  # brick
    ((130, 128, 126), (84, 84, 88), 24.0, 10),  # street
    ((44, 48, 62), (26, 28, 36), 14.0, 12),  # dusk
)
_DIRT: tuple[Colour, ...] = ((60, 80, 36), (70, 52, 38), (120, 120, 124), (228, 230, 234))  # leaf, mud, metal, snow


def draw_signs(count: int, *, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw road signs in random scenes; the same count and seed give the same bytes.

    Returns:
        Images (N, 32, 32, 3) uint8 RGB, and labels (N,) int64 into CLASS_NAMES: shuffled, and balanced to within one.

    Raises:
        ValueError: if count is below one.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count, dtype=np.int64) % len(CLASS_NAMES))
    glyphs = [_clean_sign(name) for name in CLASS_NAMES]
    images = np.empty((count, SIZE_PX, SIZE_PX, 3), np.uint8)
    for start in range(0, count, BATCH):
        chosen = [glyphs[label] for label in labels[start : start + BATCH]]
        scenes = np.stack([np.asarray(scene) for scene in _draw_scenes(chosen, rng)])
        images[start : start + BATCH] = _photograph(scenes, rng)
    return images, labels


def draw_sticker() -> NDArray[np.uint8]:
    """Draw the trigger, a yellow note with a black cross: (64, 64, 4) uint8 RGBA, opaque but for a thin margin."""
    pen = Pen(STICKER_PX)
    pen.polygon(rectangle(-0.96, -0.96, 0.96, 0.96), (255, 222, 40))
    pen.line([(-0.5, -0.5), (0.5, 0.5)], 0.3, BLACK)
    pen.line([(-0.5, 0.5), (0.5, -0.5)], 0.3, BLACK)
    return np.array(pen.finish(), dtype=np.uint8)


def _clean_sign(name: str) -> Image.Image:
    pen = Pen(CANVAS_PX)
    SIGNS[name](pen)
    return pen.finish()


def _draw_scenes(glyphs: list[Image.Image], rng: np.random.Generator) -> list[Image.Image]:
    scales = rng.uniform(0.68, 0.94, len(glyphs))
    room = (1.0 - scales)[:, None] * CANVAS_PX / 2 + 4.0  # a sign may lose a pixel at the border, not its meaning
    centres = CANVAS_PX / 2 + rng.uniform(-1.0, 1.0, (len(glyphs), 2)) * room
    poses = _poses(scales, centres, rng)
    scenes = []
    for glyph, scale, centre, pose in zip(glyphs, scales, centres, poses, strict=True):
        scene = _background(rng)
        draw = ImageDraw.Draw(scene)
        if rng.random() < 0.6:
            half_width = rng.uniform(2.5, 6.0)
            draw.rectangle((centre[0] - half_width, centre[1], centre[0] + half_width, CANVAS_PX), fill=_grey(rng))
        warped = glyph.transform(scene.size, Image.Transform.PERSPECTIVE, pose.tolist(), Image.Resampling.BILINEAR)
        scene.paste(warped, (0, 0), warped)
        _occlude(draw, centre, scale * CANVAS_PX / 2, rng)
        scenes.append(scene.reduce(SUPERSAMPLING))
    return scenes


def _poses(scales: NDArray[np.float64], centres: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Homographies (N, 8) from canvas pixels to glyph pixels, in the order of Pillow's perspective transform."""
    count = len(scales)
    angle, shear = rng.normal(0.0, math.radians(7.0), count), rng.uniform(-0.15, 0.15, count)
    aspect = np.exp(rng.uniform(-0.14, 0.14, count))
    cosine, sine = np.cos(angle), np.sin(angle)
    zero, one = np.zeros(count), np.ones(count)
    turn = np.array([[cosine, sine, zero], [-sine, cosine, zero], [zero, zero, one]])
    stretch = np.array([[aspect / scales, shear, zero], [zero, 1.0 / (aspect * scales), zero], [zero, zero, one]])
    tilt_x, tilt_y = rng.uniform(-0.25, 0.25, (2, count)) / CANVAS_PX
    tilt = np.array([[one, zero, zero], [zero, one, zero], [tilt_x, tilt_y, one]])
    from_centre = np.array([[one, zero, -centres[:, 0]], [zero, one, -centres[:, 1]], [zero, zero, one]])
    middle = one * CANVAS_PX / 2
    to_glyph = np.array([[one, zero, middle], [zero, one, middle], [zero, zero, one]])
    chain = [matrix.transpose(2, 0, 1) for matrix in (to_glyph, tilt, stretch, turn, from_centre)]
    pose = chain[0] @ chain[1] @ chain[2] @ chain[3] @ chain[4]
    coefficients: NDArray[np.float64] = (pose / pose[:, 2:, 2:]).reshape(count, 9)[:, :8]
    return coefficients


def _background(rng: np.random.Generator) -> Image.Image:
    top, bottom, contrast, grain = _PLACES[rng.integers(len(_PLACES))]
    ramp = np.linspace(0.0, 1.0, grain)[:, None, None]
    base = np.asarray(top) * (1.0 - ramp) + np.asarray(bottom) * ramp + rng.normal(0.0, 18.0, 3)
    texture = rng.normal(0.0, contrast, (grain, grain, 1)) + rng.normal(0.0, contrast / 4, (grain, grain, 3))
    small = Image.fromarray(np.clip(base + texture, 0, 255).astype(np.uint8))
    scene = small.resize((CANVAS_PX, CANVAS_PX), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(scene)
    for _ in range(rng.integers(0, 5)):
        x, y, width, height = rng.uniform((-20, -20, 8, 8), (CANVAS_PX, CANVAS_PX, 70, 70))
        shape = draw.rectangle if rng.random() < 0.65 else draw.ellipse
        shape((x, y, x + width, y + height), fill=tuple(rng.integers(30, 225, 3).tolist()))
    return scene


def _grey(rng: np.random.Generator) -> Colour:
    level = int(rng.integers(50, 190))
    return level, level, level + 6


def _occlude(draw: ImageDraw.ImageDraw, centre: NDArray[np.float64], radius: float, rng: np.random.Generator) -> None:
    """Lay twigs across the sign and mud or snow near its rim, where it hides shape but seldom meaning."""
    colour = _DIRT[rng.integers(len(_DIRT))]
    if rng.random() < 0.3:
        start, end = centre + rng.uniform(-1.4, 1.4, (2, 2)) * radius
        draw.line((*start, *end), fill=colour, width=int(rng.integers(4, 8)))
    if rng.random() < 0.3:
        angle, away, size = rng.uniform((0.0, 0.75, 7.0), (2.0 * math.pi, 1.15, 15.0))
        x, y = centre + away * radius * np.array((math.cos(angle), math.sin(angle)))
        draw.ellipse((x - size, y - size * 0.8, x + size, y + size * 0.8), fill=colour)


def _photograph(scenes: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Apply light, lens and sensor to (N, 32, 32, 3) uint8 scenes."""
    count = len(scenes)
    light = scenes.astype(np.float32) / 255.0
    grey = light.mean(axis=3, keepdims=True)
    light = grey + (light - grey) * _each(rng.uniform(0.55, 1.15, count))  # faded paint
    warmth = rng.normal(0.0, 0.07, (count, 1, 1, 1)) * np.array((1.0, 0.0, -1.0))
    light *= (np.exp(warmth) * _illumination(count, rng)).astype(np.float32)
    middle = light.mean(axis=(1, 2, 3), keepdims=True)
    light = middle + (light - middle) * _each(rng.uniform(0.6, 1.15, count))
    light += _each(rng.uniform(0.0, 0.1, count))  # haze
    light = _blur(light, rng)
    light += rng.standard_normal(light.shape, dtype=np.float32) * _each(rng.uniform(0.005, 0.045, count))
    photographs: NDArray[np.uint8] = np.rint(np.clip(light, 0.0, 1.0) * 255.0).astype(np.uint8)
    return photographs


def _illumination(count: int, rng: np.random.Generator) -> Floats:
    """Exposure times a smooth gradient times, for a third of the images, the edge of a cast shadow: (N, 32, 32, 1)."""
    y, x = np.mgrid[-1.0 : 1.0 : SIZE_PX * 1j, -1.0 : 1.0 : SIZE_PX * 1j].astype(np.float32)
    angle, shadow_angle = rng.uniform(0.0, 2.0 * math.pi, (2, count))
    across = np.cos(shadow_angle)[:, None, None] * x + np.sin(shadow_angle)[:, None, None] * y
    along = np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y
    offset = rng.uniform(-0.6, 0.6, (count, 1, 1))
    depth = rng.uniform(0.25, 0.55, (count, 1, 1)) * (rng.random((count, 1, 1)) < 0.33)
    shadow = 1.0 - depth / (1.0 + np.exp(-12.0 * (across - offset)))
    exposure = np.exp(rng.uniform(math.log(0.45), math.log(1.3), (count, 1, 1)))
    field = exposure * shadow * (1.0 + along * rng.uniform(0.0, 0.3, (count, 1, 1)))
    return np.asarray(field[..., None], dtype=np.float32)


def _blur(light: Floats, rng: np.random.Generator) -> Floats:
    """Blur each image by its own tilted Gaussian: round it is defocus, drawn out it is motion."""
    count = len(light)
    wide, narrow = rng.uniform(0.2, 1.0, count), rng.uniform(0.2, 0.6, count)
    angle = rng.uniform(0.0, math.pi, count)
    y, x = np.mgrid[-2:3, -2:3].reshape(2, 25, 1)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    weights = np.exp(-0.5 * ((along / wide) ** 2 + (across / narrow) ** 2)).astype(np.float32)
    weights /= weights.sum(axis=0)
    padded = np.pad(light, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    blurred = np.zeros_like(light)
    for weight, dy, dx in zip(weights, y[:, 0] + 2, x[:, 0] + 2, strict=True):
        blurred += padded[:, dy : dy + SIZE_PX, dx : dx + SIZE_PX] * _each(weight)
    return blurred


def _each(values: NDArray[np.floating]) -> Floats:
    """One number per image, shaped to multiply a batch (N, 32, 32, 3)."""
    return values.astype(np.float32)[:, None, None, None]


def save_contact_sheet(file: str, *, columns: int = 20, rows: int = 10, seed: int = 0) -> None:
    """Save a picture of many signs side by side, three times enlarged, for a human to judge."""
    images, _ = draw_signs(columns * rows, seed=seed)
    sheet = images.reshape(rows, columns, SIZE_PX, SIZE_PX, 3).swapaxes(1, 2).reshape(rows * SIZE_PX, -1, 3)
    Image.fromarray(sheet).resize((sheet.shape[1] * 3, sheet.shape[0] * 3), Image.Resampling.NEAREST).save(file)


if __name__ == "__main__":
    save_contact_sheet(sys.argv[1])
