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
    with np.errstate(invalid="ignore"):
        square = across[:, None] * x * x
        out = np.multiply(mixed[:, None, None] * x[:, None], y[..., None])
        out += square[:, None]
        out += (down[:, None] * y * y)[..., None]
        return np.asarray(out <= 1)


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
    along = (cos * x)[:, None] + (sin * y)[..., None]
    across = (cos * y)[..., None] - (sin * x)[:, None]
    half = sides[:, :, None, None] / 2
    return np.asarray((np.abs(along) <= half[:, 0]) & (np.abs(across) <= half[:, 1]))
