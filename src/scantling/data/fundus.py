"""The field of view of a fundus photograph: the box round the lit disc, without the black border.

Source: Huang et al. 2023, Diagnostics 13(10):1664 (preprocessing after the Kaggle team o_O).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

CONTRAST = 10
"""A pixel is foreground when any channel is more than this above the background."""

_REACH = 2
"""How far the 5x5 blur looks."""

_STRIP = 16
"""Rows or columns looked at together. The answer does not depend on it: only how much of the image is blurred does."""


def field_of_view_box(image: np.ndarray) -> tuple[int, int, int, int]:
    """The box of a fundus photograph to keep.

    In a clearly landscape image (``W > 1.2 H``) the background is the brightest value of the outer columns, left and
    right, and the box bounds all pixels of the blurred image that exceed it by more than 10 in any channel. When the
    image is not landscape, or the box is narrower or lower than ``0.8 H``, the answer is the centre square of side
    ``H`` (the whole image, when it is portrait).

    The blur (Pillow's 5x5 ``BLUR``) is local and the box only asks for the first and last foreground row and column,
    so only strips from the edges inwards are blurred, and of these only where a pixel is bright enough; the result
    equals that of blurring the whole image.

    Args:
        image: uint8, ``(H, W, 3)``, ``(H, W, 1)`` or ``(H, W)``.

    Returns:
        ``(left, top, right, bottom)`` in pixels; right and bottom are exclusive.

    >>> field_of_view_box(np.zeros((100, 200, 3), dtype=np.uint8))
    (50, 0, 150, 100)
    """
    pixels = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    height, width = pixels.shape[:2]
    if width > 1.2 * height:
        box = _foreground_box(pixels)
        if box is not None and min(box[2] - box[0], box[3] - box[1]) >= 0.8 * height:
            return box
    left = max((width - height) // 2, 0)
    return left, 0, min(left + height, width), height


def _foreground_box(pixels: np.ndarray) -> tuple[int, int, int, int] | None:
    height, width = pixels.shape[:2]
    left_columns, right_columns = width // 32, -(-width // 32)
    outer = [_blurred(pixels, 0, height, 0, left_columns), _blurred(pixels, 0, height, width - right_columns, width)]
    level = np.concatenate([o.max(axis=(0, 1), keepdims=True) for o in outer if o.size]).max(axis=0)
    level = level.astype(np.int16) + CONTRAST

    def extent(axis: int, size: int, inside: tuple[int, int]) -> tuple[int, int] | None:
        """First foreground line along an axis and one past the last, looking from both ends inwards."""

        def found(start: int, stop: int) -> np.ndarray:
            window = (start, stop, *inside) if axis == 0 else (*inside, start, stop)
            bright = (_blurred(pixels, *window) > level).any(axis=2)
            return start + np.flatnonzero(bright.any(axis=1 - axis))

        lines = _candidates(pixels, axis, inside, level)
        first = _first(lines, lambda line: found(line, min(line + _STRIP, size)), 0, 1)
        if first is None:
            return None
        last = _first(lines[::-1], lambda line: found(max(line + 1 - _STRIP, 0), line + 1), -1, -1)
        return first, size if last is None else last + 1

    rows = extent(0, height, (0, width))
    columns = extent(1, width, rows) if rows else None
    return (columns[0], rows[0], columns[1], rows[1]) if rows and columns else None


def _candidates(pixels: np.ndarray, axis: int, inside: tuple[int, int], level: np.ndarray) -> np.ndarray:
    """Lines that can hold foreground: the blur, a mean over 5x5, never exceeds the brightest pixel it sees."""
    low, high = max(inside[0] - _REACH, 0), inside[1] + _REACH
    if axis == 0:
        brightest = pixels[:, low:high].reshape(len(pixels), -1).max(axis=1)
    else:
        brightest = pixels[low:high].max(axis=0).reshape(pixels.shape[1], -1).max(axis=1)
    bright = brightest > level.min()
    near = np.convolve(bright, np.ones(2 * _REACH + 1, dtype=np.int64), mode="same") if len(bright) > 4 else bright
    return np.flatnonzero(near) if len(bright) > 4 else np.arange(len(bright))


def _first(lines: np.ndarray, found: Callable[[int], np.ndarray], pick: int, step: int) -> int | None:
    """The first line with foreground, looking at strips that begin at candidates."""
    while lines.size:
        hits = found(int(lines[0]))
        if hits.size:
            return int(hits[pick])
        lines = lines[step * (lines - lines[0]) >= _STRIP]
    return None


def _blurred(pixels: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """A window ``(h, w, C)`` of the blurred image, exactly as in the blurred whole."""
    if bottom <= top or right <= left:
        return np.empty((0, 0, 1), dtype=np.uint8)
    y, x = max(top - 2, 0), max(left - 2, 0)
    window = Image.fromarray(np.ascontiguousarray(pixels[y : bottom + 2, x : right + 2]))
    out = np.asarray(window.filter(ImageFilter.BLUR))[top - y : bottom - y, left - x : right - x]
    return out if out.ndim == 3 else out[..., None]
