"""Filled ellipses and rectangles as masks, exact to the pixel."""

from __future__ import annotations

import numpy as np

from scantling.data.conic import matrix_of


def fill_ellipses(shape: tuple[int, int], centre: np.ndarray, semi_axes: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Masks of ellipses: the pixels of which at least half is covered.

    A straight line through a pixel's centre halves it, so these are the pixels whose centre lies inside; ellipses of a
    few pixels and more are straight within a pixel.

    Args:
        shape: height and width.
        centre: x and y in pixels, ``(N, 2)``; 0 is the centre of the first pixel.
        semi_axes: in pixels, ``(N, 2)``.
        angle: of the first semi-axis, radians from x towards y, ``(N,)``.

    Returns:
        ``(N, height, width)`` bool; empty where a number is NaN.
    """
    xx, xy, yy = matrix_of(semi_axes, angle)
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = xx * yy - xy * xy
        across, mixed, down = yy / determinant, -2 * xy / determinant, xx / determinant
        x, y = np.arange(shape[1]) - centre[:, :1], np.arange(shape[0]) - centre[:, 1:]
        out = _outer(mixed[:, None] * y, x)
        out += (across[:, None] * x * x).astype(np.float32)[:, None]
        out += (down[:, None] * y * y).astype(np.float32)[..., None]
        return np.asarray(out <= 1)


def _outer(down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Products ``(N, height, width)``, in single precision: a border moves by less than a thousandth of a pixel."""
    return down.astype(np.float32)[..., None] * right.astype(np.float32)[:, None]


def fill_rectangles(
    shape: tuple[int, int],
    centre: np.ndarray,
    sides: np.ndarray,
    angle: np.ndarray,
    spacing: np.ndarray | tuple[float, float] = (1.0, 1.0),
) -> np.ndarray:
    """Masks of rectangles.

    Args:
        shape: height and width.
        centre: x and y, ``(N, 2)``, in the unit of ``spacing``.
        sides: ``(N, 2)``.
        angle: of the first side, radians from x towards y, ``(N,)``.
        spacing: between rows and between columns, ``(N, 2)`` or ``(2,)``.

    Returns:
        ``(N, height, width)`` bool; empty where a number is NaN.
    """
    down, right = np.broadcast_to(np.asarray(spacing, dtype=np.float64), centre.shape).T
    x = np.arange(shape[1]) * right[:, None] - centre[:, :1]
    y = np.arange(shape[0]) * down[:, None] - centre[:, 1:]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    half = (sides / 2).astype(np.float32)[..., None, None]
    with np.errstate(invalid="ignore"):
        along = np.abs((cos * x).astype(np.float32)[:, None] + (sin * y).astype(np.float32)[..., None])
        across = np.abs((cos * y).astype(np.float32)[..., None] - (sin * x).astype(np.float32)[:, None])
        return np.asarray((along <= half[:, 0]) & (across <= half[:, 1]))
