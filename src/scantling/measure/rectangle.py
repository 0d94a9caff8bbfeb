"""Length of the femur: rectangles round bars, from masks or probability maps, in millimetres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from scantling.core.errors import DataError, nearest
from scantling.data.conic import axes_of
from scantling.data.shapes import fill_rectangles
from scantling.measure.clean import chunks
from scantling.measure.ellipse import checked, moments
from scantling.measure.outline import border_points, isolate

Method = Literal["min_area", "moments", "extent"]
METHODS: tuple[str, ...] = get_args(Method)

_ROUNDS = 4
_STEPS = 45


@dataclass(frozen=True)
class Rectangles:
    """``N`` rectangles; NaN where there is none.

    Args:
        centre: x and y, ``(N, 2)``.
        sides: the longer one first, ``(N, 2)``.
        angle: of the longer side, radians from x towards y (downwards) in (-pi/2, pi/2], ``(N,)``.
    """

    centre: np.ndarray
    sides: np.ndarray
    angle: np.ndarray

    def __len__(self) -> int:
        return len(self.angle)

    @property
    def length(self) -> np.ndarray:
        """The longer side, ``(N,)``."""
        return self.sides[:, 0]

    def corners(self) -> np.ndarray:
        """``(N, 4, 2)`` as x, y, in turn."""
        along, across = (d * s[:, None] / 2 for d, s in zip(self._directions(), self.sides.T, strict=True))
        steps = [-along - across, along - across, along + across, across - along]
        return np.asarray(self.centre[:, None] + np.stack(steps, 1))

    def ends(self) -> np.ndarray:
        """Ends of the line through the middle along the longer side, ``(N, 1, 2, 2)``: first and second, x and y."""
        step = self._directions()[0] * self.sides[:, :1] / 2
        return np.stack([self.centre - step, self.centre + step], 1)[:, None]

    def scaled_corners(self, factor: ArrayLike) -> np.ndarray:
        """Corners ``(N, 4, 2)`` in other units: ``factor (N, 2)`` or ``(2,)`` multiplies x and y.

        With unequal factors these are parallelograms.
        """
        factors = np.broadcast_to(np.asarray(factor, dtype=np.float64), self.centre.shape)
        return self.corners() * factors[:, None]

    def masks(self, shape: tuple[int, int], spacing: ArrayLike = (1.0, 1.0)) -> np.ndarray:
        """``(N, height, width)`` bool, rows and columns ``spacing`` apart: ``(N, 2)`` or ``(2,)``."""
        spacings = np.broadcast_to(np.asarray(spacing, dtype=np.float64), self.centre.shape)
        return fill_rectangles(shape, self.centre, self.sides, self.angle, spacings)

    def _directions(self) -> tuple[np.ndarray, np.ndarray]:
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.stack([cos, sin], -1), np.stack([-sin, cos], -1)


def fit_rectangles(
    probabilities: np.ndarray, spacing: ArrayLike = (1.0, 1.0), method: Method = "min_area"
) -> Rectangles:
    """Rectangles of masks or probability maps: of each the largest piece with its holes filled.

    Args:
        probabilities: ``(N, H, W)``, bool, or float in [0, 1] with the border at one half.
        spacing: millimetres between rows and between columns, ``(N, 2)`` or ``(2,)``.
        method: ``min_area``: the rectangle of least area round the border. ``moments``: sides ``sqrt(12 l)`` from the
            covariance of the pixels, exact for rectangles and hardly moved by single stray pixels, but too short for
            bars with round ends. ``extent``: how far the border reaches along the principal axes.

        Of probability maps the border is known to a fraction of a pixel; of masks the mean distance between the border
        and the outermost pixel centres is added at both ends: half a pixel for a level bar, next to nothing for a
        slanting one.

    Returns:
        Rectangles in millimetres; NaN for empty masks.

    Raises:
        DataError: an unknown method, arrays of other shapes, a spacing that is not positive.
    """
    values, spacings = checked(probabilities, spacing)
    if method not in METHODS:
        raise DataError(f"unknown fit '{method}'{nearest(method, METHODS)}", do=f"use one of {', '.join(METHODS)}")
    parts = [fit_single(*isolate(values[part]), spacings[part], method) for part in chunks(values.shape)]
    if not parts:
        return Rectangles(np.empty((0, 2)), np.empty((0, 2)), np.empty(0))
    return Rectangles(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("centre", "sides", "angle")))


def fit_single(
    alone: np.ndarray, structure: np.ndarray, spacing: np.ndarray, method: Method = "min_area"
) -> Rectangles:
    """Rectangles of single structures.

    Args:
        alone: probabilities of one structure alone, ``(N, H, W)``, see :func:`scantling.measure.outline.isolate`.
        structure: where they are one half or more, likewise bool.
        spacing: between rows and between columns, ``(N, 2)``.
        method: as above.
    """
    centre, covariance = moments(alone, structure, spacing)
    variances, angle = axes_of(*covariance.T)
    sides = np.sqrt(12) * variances
    if method == "moments":
        return Rectangles(centre, sides, angle)
    hard = ((alone == 0) | (alone == 1)).all((1, 2))
    ways: tuple[tuple[np.ndarray, Literal["edges", "centres"]], ...] = ((hard, "centres"), (~hard, "edges"))
    for chosen, place in ways:
        points = border_points(alone[chosen], structure[chosen], place) * spacing[chosen, None, ::-1]
        if points.shape[1]:
            found = _around(points, angle[chosen], method)
            if place == "centres":
                found = Rectangles(found.centre, found.sides + 2 * _gap(found, spacing[chosen]), found.angle)
            centre[chosen], sides[chosen], angle[chosen] = found.centre, found.sides, found.angle
    return Rectangles(centre, sides, angle)


def _around(points: np.ndarray, angle: np.ndarray, method: Method) -> Rectangles:
    """Rectangles round points ``(N, P, 2)``, along the given axes or of least area."""
    if method == "min_area":
        angle = _least_area(points, angle)
    low, high = _reach(points, angle[:, None])
    sides, middle = (high - low)[:, 0], (high + low)[:, 0] / 2
    along, across = _axes(angle)
    centre = middle[:, :1] * along + middle[:, 1:] * across
    swap = sides[:, 1] > sides[:, 0]
    turned = np.where(angle > 0, angle - np.pi / 2, angle + np.pi / 2)
    return Rectangles(centre, np.where(swap[:, None], sides[:, ::-1], sides), np.where(swap, turned, angle))


def _gap(found: Rectangles, spacing: np.ndarray) -> np.ndarray:
    """How far the outermost pixel centres lie inside the border of a mask on average, ``(N, 2)`` by side.

    A border along the rows lies anywhere between the last centres inside and the next ones: half a pixel further on
    average. A slanting border passes many centres, and the nearest of n lies about 1 / (n + 1) of a pixel inside. A
    border that rises by a share s of a pixel over its length lies between: ``(1 - s)^2 / 2 + s / (n + 1)``.
    """
    steps = spacing[:, ::-1]
    out = []
    for normal, run, length in zip(found._directions(), found._directions()[::-1], found.sides.T[::-1], strict=True):
        rises = np.abs(normal) * steps
        main = rises.argmax(1)
        rows = np.arange(len(rises))
        step, drift = rises[rows, main], rises[rows, 1 - main]
        passed = length * np.abs(run[rows, 1 - main]) / steps[rows, 1 - main]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.minimum(passed * drift / step, 1)
        out.append(step * ((1 - share) ** 2 / 2 + share / (passed + 1)))
    return np.stack(out, -1)


def _axes(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos, sin], -1), np.stack([-sin, cos], -1)


def _reach(points: np.ndarray, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest coordinate ``(N, K, 2)`` of points ``(N, P, 2)`` along axes at ``angles (N, K)``, across."""
    along, across = _axes(angles)
    moved = np.swapaxes(points, 1, 2)
    known = ~np.isnan(points[:, None, :, 0])
    found = np.stack([along @ moved, across @ moved], -2)
    low = np.where(known[..., None, :], found, np.inf).min(-1)
    high = np.where(known[..., None, :], found, -np.inf).max(-1)
    empty = ~known.any(-1)[..., None]
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def _least_area(points: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Angle ``(N,)`` of the rectangle of least area, found to 0.001 degrees by looking ever closer."""
    angle, width = start, np.pi / 2
    for _ in range(_ROUNDS):
        tried = angle[:, None] + np.linspace(-width / 2, width / 2, _STEPS)
        low, high = _reach(points, tried)
        area = np.where(np.isnan(low[..., 0]), np.inf, (high - low).prod(-1))
        angle = tried[np.arange(len(tried)), area.argmin(1)]
        width *= 4 / (_STEPS - 1)
    return (angle + np.pi / 2) % np.pi - np.pi / 2
