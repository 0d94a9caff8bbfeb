"""Callipers over a picture as sonographers draw them: a cross at each end, dots between, a dotted ellipse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scantling.run.report_pictures import as_colour

COLOURS = ((255, 221, 64), (80, 224, 255), (140, 240, 120))
"""Of the first, second and third distance."""

OUTLINE = (255, 150, 60)
"""Of the ellipse."""

_SHADE = (0, 0, 0)
_SMALLEST = 480
"""Pictures whose longer side is shorter are enlarged by a whole factor, so that figures can be read."""

_FINE = 2
"""Lines are drawn so many times larger and averaged down, which smooths them."""


def draw_callipers(
    pixels: np.ndarray,
    outline: np.ndarray | None,
    distances: Mapping[str, np.ndarray],
    lines: Sequence[str],
    warning: str = "",
) -> np.ndarray:
    """A picture with its measurements.

    Args:
        pixels: ``(H, W)``, ``(H, W, 1)`` or ``(H, W, 3)`` uint8.
        outline: points of the ellipse, ``(P, 2)`` as x, y in pixels, centres of pixels at whole numbers; or None.
        distances: both ends of every distance by name, ``(2, 2)`` as x, y likewise.
        lines: text below, a line each.
        warning: a last line of text, in red.

    Returns:
        ``(k H, k W, 3)`` uint8 with a whole k of 1 or more.
    """
    base = as_colour(pixels)
    enlarged = max(1, -(-_SMALLEST // max(base.shape[:2])))
    picture = Image.fromarray(base)
    size = picture.width * enlarged, picture.height * enlarged
    if enlarged > 1:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    scale = _FINE * enlarged
    stroke = max(3, round(max(size) * _FINE / 450))
    layer = Image.new("RGBA", (size[0] * _FINE, size[1] * _FINE), (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    if outline is not None and np.isfinite(outline).all():
        closed = _fine(np.concatenate([outline, outline[:1]]), scale)
        _dots(pen, closed, OUTLINE, stroke, 5 * stroke)
    for (name, ends), colour in zip(distances.items(), COLOURS, strict=False):
        if np.isfinite(ends).all():
            points = _fine(ends, scale)
            _dots(pen, points, colour, stroke, 4 * stroke)
            for point in points:
                _cross(pen, point, colour, 5 * stroke, stroke)
            _letter(pen, name, points, colour, stroke)
    layer = layer.resize(size, Image.Resampling.BOX)
    picture = Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")
    _write(picture, lines, warning)
    return np.asarray(picture)


def _fine(points: np.ndarray, scale: int) -> np.ndarray:
    """Centres of pixels at whole numbers, as places in the enlarged picture."""
    return (np.asarray(points, dtype=np.float64) + 0.5) * scale


def _dots(pen: ImageDraw.ImageDraw, path: np.ndarray, colour: tuple[int, ...], width: int, gap: float) -> None:
    """Dots along a path, evenly spaced."""
    steps = np.hypot(*np.diff(path, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    count = max(2, round(along[-1] / gap) + 1)
    at = np.linspace(0, along[-1], count)
    xs, ys = (np.interp(at, along, path[:, k]) for k in (0, 1))
    for grow, ink in ((0.5 * width, _SHADE), (0.0, colour)):
        radius = 0.6 * width + grow
        for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(*ink, 170 if grow else 255))


def _cross(pen: ImageDraw.ImageDraw, point: np.ndarray, colour: tuple[int, ...], arm: int, width: int) -> None:
    x, y = point.tolist()
    for grow, ink in ((width, _SHADE), (0, colour)):
        pen.line((x - arm - grow / 2, y, x + arm + grow / 2, y), fill=(*ink, 255), width=width + grow)
        pen.line((x, y - arm - grow / 2, x, y + arm + grow / 2), fill=(*ink, 255), width=width + grow)


def _letter(pen: ImageDraw.ImageDraw, name: str, ends: np.ndarray, colour: tuple[int, ...], stroke: int) -> None:
    """The distance's name beside its second end, further out."""
    font = _font(9 * stroke)
    direction = ends[1] - ends[0]
    away = direction / max(float(np.hypot(*direction)), 1e-6)
    half = np.array([pen.textlength(name, font=font) / 2, 5 * stroke])
    limit = np.array(pen.im.size) - half - stroke
    x, y = np.clip(ends[1] + away * (8 * stroke + half), half + stroke, limit).tolist()
    pen.text((x, y), name, fill=(*colour, 255), font=font, anchor="mm", stroke_width=stroke, stroke_fill=(*_SHADE, 255))


def _write(picture: Image.Image, lines: Sequence[str], warning: str) -> None:
    """Text in the lower left corner, outlined so that it can be read on any tissue."""
    size = max(12, round(max(picture.size) / 40))
    font, pen = _font(size), ImageDraw.Draw(picture)
    texts = [(line, (255, 255, 255)) for line in lines] + ([(warning, (255, 110, 90))] if warning else [])
    top = picture.height - round(1.3 * size * len(texts)) - size // 2
    for number, (text, colour) in enumerate(texts):
        place = (size // 2, top + round(1.3 * size * number))
        pen.text(place, text, fill=colour, font=font, stroke_width=max(1, size // 8), stroke_fill=_SHADE)


def _font(size: float) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
