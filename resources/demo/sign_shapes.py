"""The shapes of the demo's road signs: generic drawings made here, so that the demo needs no data set."""

from __future__ import annotations

import math
from collections.abc import Callable

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Points = list[tuple[float, float]]

RED: Colour = (196, 26, 34)
BLUE: Colour = (18, 82, 170)
YELLOW: Colour = (246, 190, 20)
WHITE: Colour = (244, 244, 242)
BLACK: Colour = (22, 22, 24)
GREY: Colour = (120, 122, 126)


class Pen:
    """Draws on a transparent square whose corners are (-1, -1) and (1, 1), y down, and hands it back antialiased."""

    def __init__(self, size_px: int) -> None:
        self._size_px = size_px
        self._half = 2.0 * size_px
        self._image = Image.new("RGBA", (4 * size_px, 4 * size_px))
        self._draw = ImageDraw.Draw(self._image)

    def polygon(self, points: Points, colour: Colour) -> None:
        """Fill a polygon."""
        self._draw.polygon([self._at(x, y) for x, y in points], fill=colour)

    def line(self, points: Points, width: float, colour: Colour) -> None:
        """Stroke a line through the points."""
        self._draw.line(
            [self._at(x, y) for x, y in points], fill=colour, width=round(width * self._half), joint="curve"
        )

    def disc(self, radius: float, colour: Colour, *, x: float = 0.0, y: float = 0.0) -> None:
        """Fill a disc."""
        self._draw.ellipse(self._box(x, y, radius, radius), fill=colour)

    def arc(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        degrees: tuple[int, int],
        width: float,
        colour: Colour,
    ) -> None:
        """Stroke part of an ellipse, clockwise from the first angle to the second; 0 degrees points right."""
        pixels = round(width * self._half)
        self._draw.arc(self._box(*centre, *radii), degrees[0], degrees[1], fill=colour, width=pixels)

    def finish(self) -> Image.Image:
        """Average the supersampled drawing down to size_px: an RGBA image."""
        return self._image.resize((self._size_px, self._size_px), Image.Resampling.BOX)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return (x + 1.0) * self._half, (y + 1.0) * self._half

    def _box(self, x: float, y: float, radius_x: float, radius_y: float) -> tuple[float, float, float, float]:
        return (*self._at(x - radius_x, y - radius_y), *self._at(x + radius_x, y + radius_y))


def ngon(corners: int, radius: float, start_degrees: float, *, y: float = 0.0) -> Points:
    """Corners of a regular polygon around (0, y)."""
    angles = [math.radians(start_degrees + 360.0 * corner / corners) for corner in range(corners)]
    return [(radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]


def rectangle(left: float, top: float, right: float, bottom: float) -> Points:
    """Corners of an upright rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _stop(pen: Pen) -> None:
    pen.polygon(ngon(8, 1.0, 22.5), WHITE)
    pen.polygon(ngon(8, 0.9, 22.5), RED)
    for top, start in ((-0.27, 90), (-0.02, -90)):  # S: the left half above, the right half below
        pen.arc((-0.56, top + 0.145), (0.15, 0.2), (start, start + 180), 0.1, WHITE)
    pen.line([(-0.56, -0.28), (-0.44, -0.28)], 0.1, WHITE)
    pen.line([(-0.68, 0.28), (-0.56, 0.28)], 0.1, WHITE)
    pen.line([(-0.36, -0.28), (0.0, -0.28)], 0.1, WHITE)
    pen.line([(-0.18, -0.3), (-0.18, 0.33)], 0.1, WHITE)
    pen.arc((0.2, 0.0), (0.17, 0.33), (0, 360), 0.1, WHITE)
    pen.line([(0.5, -0.33), (0.5, 0.33)], 0.1, WHITE)
    pen.arc((0.55, -0.14), (0.18, 0.19), (-90, 90), 0.1, WHITE)


def _yield(pen: Pen) -> None:
    pen.polygon(ngon(3, 1.1, 90.0, y=-0.2), RED)
    pen.polygon(ngon(3, 0.58, 90.0, y=-0.2), WHITE)


def _no_entry(pen: Pen) -> None:
    pen.disc(0.97, WHITE)
    pen.disc(0.92, RED)
    pen.polygon(rectangle(-0.68, -0.19, 0.68, 0.19), WHITE)


def _speed_limit(pen: Pen) -> None:
    pen.disc(0.97, RED)
    pen.disc(0.77, WHITE)
    pen.arc((0.34, 0.0), (0.27, 0.46), (0, 360), 0.15, BLACK)


def _speed_limit_30(pen: Pen) -> None:
    _speed_limit(pen)
    pen.arc((-0.38, -0.2), (0.26, 0.26), (215, 450), 0.15, BLACK)
    pen.arc((-0.38, 0.17), (0.28, 0.29), (270, 505), 0.15, BLACK)


def _speed_limit_80(pen: Pen) -> None:
    _speed_limit(pen)
    pen.arc((-0.34, -0.21), (0.25, 0.25), (0, 360), 0.15, BLACK)
    pen.arc((-0.34, 0.17), (0.28, 0.29), (0, 360), 0.15, BLACK)


def _priority_road(pen: Pen) -> None:
    pen.polygon(ngon(4, 1.0, 0.0), BLACK)
    pen.polygon(ngon(4, 0.95, 0.0), WHITE)
    pen.polygon(ngon(4, 0.68, 0.0), YELLOW)


def _turn_right(pen: Pen) -> None:
    pen.disc(0.97, WHITE)
    pen.disc(0.91, BLUE)
    pen.line([(-0.3, 0.62), (-0.3, -0.12), (0.25, -0.12)], 0.24, WHITE)
    pen.polygon([(0.15, -0.52), (0.15, 0.28), (0.7, -0.12)], WHITE)


def _pedestrian_crossing(pen: Pen) -> None:
    pen.polygon(rectangle(-0.86, -0.86, 0.86, 0.86), WHITE)
    pen.polygon(rectangle(-0.8, -0.8, 0.8, 0.8), BLUE)
    pen.polygon(ngon(3, 0.82, -90.0, y=0.18), WHITE)
    pen.disc(0.12, BLACK, y=-0.24)
    pen.line([(0.0, -0.12), (0.0, 0.2)], 0.17, BLACK)
    pen.line([(-0.24, 0.1), (0.0, -0.05), (0.24, 0.1)], 0.09, BLACK)
    pen.line([(-0.24, 0.54), (0.0, 0.16), (0.24, 0.54)], 0.12, BLACK)


def _no_parking(pen: Pen) -> None:
    pen.disc(0.97, RED)
    pen.disc(0.74, BLUE)
    pen.line([(-0.6, -0.6), (0.6, 0.6)], 0.2, RED)


def _end_of_limits(pen: Pen) -> None:
    pen.disc(0.97, GREY)
    pen.disc(0.91, WHITE)
    for shift in (-0.22, 0.0, 0.22):
        pen.line([(-0.55 + shift, 0.55 + shift), (0.55 + shift, -0.55 + shift)], 0.13, BLACK)


SIGNS: dict[str, Callable[[Pen], None]] = {
    "stop": _stop,
    "yield": _yield,
    "no entry": _no_entry,
    "speed limit 30": _speed_limit_30,
    "speed limit 80": _speed_limit_80,
    "priority road": _priority_road,
    "turn right": _turn_right,
    "pedestrian crossing": _pedestrian_crossing,
    "no parking": _no_parking,
    "end of limits": _end_of_limits,
}
