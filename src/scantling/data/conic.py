"""Ellipses as numbers: from a shape matrix, through points of an outline, and under a change of units.

An ellipse is its centre ``(x, y)``, its semi-axes ``a >= b`` and the angle of the longer one: radians in (-pi/2, pi/2],
from the x axis (columns, to the right) towards the y axis (rows, downwards). Pixel coordinates count from the centre of
the first pixel: the pixel in row r and column c is the point ``(c, r)``.
"""

from __future__ import annotations

import numpy as np


def axes_of(xx: np.ndarray, xy: np.ndarray, yy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Semi-axes and angle of the ellipses ``p^T M^-1 p = 1`` from the entries of their matrices M.

    Args:
        xx: ``(...)``, and so are ``xy`` and ``yy``; M is positive definite, or the ellipse is NaN.

    Returns:
        Semi-axes ``(..., 2)``, the longer one first, and the angles ``(...)`` of the longer ones.
    """
    mean, half = (xx + yy) / 2, (xx - yy) / 2
    radius = np.hypot(half, xy)
    squares = np.stack([mean + radius, mean - radius], -1)
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.where(squares > 0, squares, np.nan)), np.arctan2(xy, half) / 2


def matrix_of(semi_axes: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Entries ``xx, xy, yy`` of the matrices that :func:`axes_of` reads."""
    a, b = semi_axes[..., 0] ** 2, semi_axes[..., 1] ** 2
    cos, sin = np.cos(angle), np.sin(angle)
    return a * cos**2 + b * sin**2, (a - b) * cos * sin, a * sin**2 + b * cos**2


def rescale(
    centre: np.ndarray, semi_axes: np.ndarray, angle: np.ndarray, factor: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ellipses that ellipses become when x and y are multiplied, each by its own factor.

    Args:
        centre: ``(..., 2)``.
        semi_axes: ``(..., 2)``.
        angle: ``(...)``.
        factor: of x and y, ``(..., 2)``, above 0.

    Returns:
        Centre, semi-axes and angle in the new units.
    """
    xx, xy, yy = matrix_of(semi_axes, angle)
    fx, fy = factor[..., 0], factor[..., 1]
    return centre * factor, *axes_of(xx * fx * fx, xy * fx * fy, yy * fy * fy)


def fit_outline(points: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ellipses through outlines, by direct least squares of the algebraic distance.

    Args:
        points: ``(N, P, 2)`` as x, y in one unit for both; rows of NaN do not count.
        weights: ``(N, P)``, 0 or more.

    Returns:
        Centre ``(N, 2)``, semi-axes ``(N, 2)`` and angle ``(N,)``; NaN where fewer than five points count or no ellipse
        fits.

    Source: Fitzgibbon, Pilu and Fisher 1999, IEEE TPAMI 21(5), in the numerically stable form of Halir and Flusser
    1998, WSCG.
    """
    given = np.isfinite(points).all(-1)
    weights = given.astype(np.float64) if weights is None else np.where(given, weights, 0.0)
    enough = (weights > 0).sum(-1) >= 5
    total = np.where(enough, weights.sum(-1), 1.0)[:, None]
    points = np.where(given[..., None], points, 0.0)
    middle = (weights[..., None] * points).sum(1) / total
    moved = points - middle[:, None]
    size = np.sqrt((weights * (moved**2).sum(-1)).sum(1) / total[:, 0])
    size = np.where(size > 0, size, 1.0)
    moved /= size[:, None, None]
    x, y = moved[..., 0], moved[..., 1]
    design = np.stack([x * x, x * y, y * y, x, y, np.ones_like(x)], -1)
    scatter = np.swapaxes(design * weights[..., None], -1, -2) @ design / total[..., None]
    centre, semi_axes, angle = ellipse_of_scatter(scatter)
    semi_axes = np.where(enough[:, None], semi_axes, np.nan)
    return np.where(np.isnan(semi_axes), np.nan, centre * size[:, None] + middle), semi_axes * size[:, None], angle


def ellipse_of_scatter(scatter: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ellipse of least algebraic distance from scatter matrices ``(..., 6, 6)`` of ``x^2, xy, y^2, x, y, 1``.

    Points should be centred and of unit size. NaN where there is none.
    """
    shape = scatter.shape[:-2]
    scatter = scatter.reshape(-1, 6, 6)
    quadratic, mixed, linear = scatter[:, :3, :3], scatter[:, :3, 3:], scatter[:, 3:, 3:]
    usable = np.isfinite(scatter).all((1, 2))
    usable &= np.abs(np.linalg.det(np.where(usable[:, None, None], linear, 0.0))) > 1e-12
    linear = np.where(usable[:, None, None], linear, np.eye(3))
    back = -np.linalg.solve(linear, np.swapaxes(mixed, 1, 2))
    reduced = np.where(usable[:, None, None], quadratic + mixed @ back, np.eye(3))
    # Multiplied by the inverse of the constraint matrix of 4 a c - b^2 = 1.
    system = np.stack([reduced[:, 2] / 2, -reduced[:, 1], reduced[:, 0] / 2], 1)
    vectors = np.linalg.eig(system)[1].real
    constraint = 4 * vectors[:, 0] * vectors[:, 2] - vectors[:, 1] ** 2
    best = constraint.argmax(1)
    rows = np.arange(len(vectors))
    usable &= constraint[rows, best] > 0
    top = vectors[rows, :, best]
    rest = (back @ top[..., None])[..., 0]
    ellipse = _geometry(*top.T, *rest.T)
    return tuple(  # type: ignore[return-value]
        np.where(usable[:, None] if part.ndim == 2 else usable, part, np.nan).reshape(*shape, *part.shape[1:])
        for part in ellipse
    )


def _geometry(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, e: np.ndarray, f: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre, semi-axes and angle of ``a x^2 + b x y + c y^2 + d x + e y + f = 0``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = 4 * a * c - b * b
        x, y = (b * e - 2 * c * d) / determinant, (b * d - 2 * a * e) / determinant
        level = -(f + (d * x + e * y) / 2)
        semi_axes, angle = axes_of(4 * c * level / determinant, -2 * b * level / determinant,
                                   4 * a * level / determinant)  # fmt: skip
    return np.stack([x, y], -1), semi_axes, angle
