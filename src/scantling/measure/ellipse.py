"""Ellipses of heads and abdomens from masks or probability maps, in millimetres.

Points become millimetres before anything is fitted: lengths of an ellipse that was fitted in pixels of unequal height
and width cannot be put right afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from scantling.core.errors import DataError, nearest
from scantling.data.conic import axes_of, ellipse_of_scatter, rescale
from scantling.data.conic import fit_outline as fit_conic
from scantling.data.shapes import fill_ellipses
from scantling.measure.agreement import overlap, touches_edge
from scantling.measure.clean import chunks
from scantling.measure.outline import border_points, coverage, isolate
from scantling.measure.perimeter import Formula, circumference

Method = Literal["auto", "moments", "contour", "robust"]
METHODS: tuple[str, ...] = get_args(Method)

ROBUST_BELOW = 0.96
"""Of ``auto``: a mask whose moment ellipse overlaps it by less (intersection over union) is fitted by ``robust``."""

_SECTORS = 36
_SCORED = 180
_KEPT = 0.65
_TUKEY = 4.685
_ROUNDS = 8
_NORMAL = 1.4826


@dataclass(frozen=True)
class Ellipses:
    """``N`` ellipses; NaN where there is none.

    Args:
        centre: x and y, ``(N, 2)``.
        semi_axes: the longer one first, ``(N, 2)``.
        angle: of the longer one, radians from x towards y (downwards) in (-pi/2, pi/2], ``(N,)``.
    """

    centre: np.ndarray
    semi_axes: np.ndarray
    angle: np.ndarray

    def __len__(self) -> int:
        return len(self.angle)

    @property
    def diameters(self) -> np.ndarray:
        """Longer and shorter diameter, ``(N, 2)``."""
        return 2 * self.semi_axes

    def circumference(self, formula: Formula = "exact") -> np.ndarray:
        """``(N,)``; see :func:`scantling.measure.perimeter.circumference`."""
        return circumference(self.semi_axes[:, 0], self.semi_axes[:, 1], formula)

    def scaled(self, factor: ArrayLike) -> Ellipses:
        """The same ellipses in other units: ``factor (N, 2)`` or ``(2,)`` multiplies x and y."""
        factors = np.broadcast_to(np.asarray(factor, dtype=np.float64), self.centre.shape)
        return Ellipses(*rescale(self.centre, self.semi_axes, self.angle, factors))

    def in_pixels(self, spacing: ArrayLike) -> Ellipses:
        """From millimetres to pixels; ``spacing (N, 2)`` or ``(2,)`` between rows and between columns."""
        return self.scaled(1 / np.asarray(spacing, dtype=np.float64)[..., ::-1])

    def points(self, count: int = 128) -> np.ndarray:
        """Points of the outlines, ``(N, count, 2)`` as x, y, from the end of the longer axis on."""
        turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
        along, across = self._directions()
        a, b = self.semi_axes[:, :1, None], self.semi_axes[:, 1:, None]
        steps = a * np.cos(turn)[:, None] * along[:, None] + b * np.sin(turn)[:, None] * across[:, None]
        return self.centre[:, None] + steps

    def ends(self) -> np.ndarray:
        """Ends of both diameters, ``(N, 2, 2, 2)``: longer and shorter, first and second end, x and y."""
        steps = np.stack(self._directions(), 1) * self.semi_axes[..., None]
        return self.centre[:, None, None] + np.stack([-steps, steps], 2)

    def masks(self, shape: tuple[int, int]) -> np.ndarray:
        """Of ellipses in pixels: ``(N, height, width)`` bool."""
        return fill_ellipses(shape, self.centre, self.semi_axes, self.angle)

    def where(self, condition: np.ndarray, other: Ellipses) -> Ellipses:
        """These ellipses where ``condition (N,)`` holds, else the others."""
        return Ellipses(
            np.where(condition[:, None], self.centre, other.centre),
            np.where(condition[:, None], self.semi_axes, other.semi_axes),
            np.where(condition, self.angle, other.angle),
        )

    def _directions(self) -> tuple[np.ndarray, np.ndarray]:
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.stack([cos, sin], -1), np.stack([-sin, cos], -1)


def fit_ellipses(probabilities: np.ndarray, spacing: ArrayLike = (1.0, 1.0), method: Method = "auto") -> Ellipses:
    """Ellipses of masks or probability maps: of each the largest piece with its holes filled.

    Args:
        probabilities: ``(N, H, W)``, bool, or float in [0, 1] with the border at one half.
        spacing: millimetres between rows and between columns, ``(N, 2)`` or ``(2,)``.
        method: ``moments``: from the covariance of the pixels, exact for whole ellipses. ``contour``: least squares on
            the outer border. ``robust``: the same on the part of the border on which an ellipse agrees, for structures
            that are cut or bitten. ``auto``: moments, and robust where the structure is cut by the edge of the picture
            or overlaps its moment ellipse by less than 0.96.

    Returns:
        Ellipses in millimetres; NaN for empty masks and where nothing fits.

    Raises:
        DataError: an unknown method, arrays of other shapes, a spacing that is not positive.
    """
    values, spacings = checked(probabilities, spacing)
    if method not in METHODS:
        raise DataError(f"unknown fit '{method}'{nearest(method, METHODS)}", do=f"use one of {', '.join(METHODS)}")
    parts = [fit_single(*isolate(values[part]), spacings[part], method) for part in chunks(values.shape)]
    return joined([ellipses for ellipses, _ in parts])


def fit_outline(points: np.ndarray, weights: np.ndarray | None = None) -> Ellipses:
    """Ellipses through outlines ``(N, P, 2)`` as x, y; see :func:`scantling.data.conic.fit_outline`."""
    return Ellipses(*fit_conic(points, weights))


def joined(parts: list[Ellipses]) -> Ellipses:
    """All ellipses of several sets, in order."""
    if not parts:
        return Ellipses(np.empty((0, 2)), np.empty((0, 2)), np.empty(0))
    return Ellipses(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("centre", "semi_axes", "angle")))


def checked(probabilities: np.ndarray, spacing: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Maps ``(N, H, W)`` and spacings ``(N, 2)`` as arrays.

    Raises:
        DataError: they are not.
    """
    values = np.asarray(probabilities)
    if values.ndim != 3:
        raise DataError(f"masks of shape {values.shape}", do="give an array (N, H, W)")
    try:
        spacings = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (len(values), 2))
    except ValueError:
        shape = np.shape(spacing)
        raise DataError(f"spacing of shape {shape} for {len(values)} masks", do="give (N, 2) or (2,)") from None
    if not (spacings > 0).all():
        raise DataError("a pixel spacing that is not positive", do="give millimetres between rows and between columns")
    return values, spacings


def by_moments(alone: np.ndarray, structure: np.ndarray, spacing: np.ndarray) -> Ellipses:
    """Semi-axes ``2 sqrt(l)`` from the eigenvalues of the covariance of all covered points.

    A pixel is a square, not a point: its own covariance ``spacing^2 / 12`` is added along each axis.

    Args:
        alone: probabilities of one structure alone, ``(N, H, W)``.
        structure: where they are one half or more, likewise bool.
        spacing: between rows and between columns, ``(N, 2)``.
    """
    centre, covariance = moments(alone, structure, spacing)
    xx, xy, yy = covariance.T
    # A filled ellipse has the covariance M / 4 of its shape matrix M.
    return Ellipses(centre, *axes_of(4 * xx, 4 * xy, 4 * yy))


def moments(alone: np.ndarray, structure: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre ``(N, 2)`` and covariance ``(N, 3)`` as xx, xy, yy of the covered points; arguments as for moments."""
    height, width = structure.shape[1:]
    weight = coverage(alone, structure)
    x, y = np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2
    basis = np.stack([np.ones(width), x, x * x], 1).astype(np.float32)
    by_row = (weight @ basis).astype(np.float64)
    mass = by_row[..., 0].sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_x, mean_y = by_row[..., 1].sum(1) / mass, by_row[..., 0] @ y / mass
        xx = by_row[..., 2].sum(1) / mass - mean_x**2 + 1 / 12
        yy = by_row[..., 0] @ (y * y) / mass - mean_y**2 + 1 / 12
        xy = by_row[..., 1] @ y / mass - mean_x * mean_y
    sy, sx = spacing.T
    centre = np.stack([(mean_x + (width - 1) / 2) * sx, (mean_y + (height - 1) / 2) * sy], -1)
    return centre, np.stack([xx * sx * sx, xy * sx * sy, yy * sy * sy], -1)


def by_contour(
    alone: np.ndarray,
    structure: np.ndarray,
    spacing: np.ndarray,
    place: Literal["edges", "centres"] = "edges",
    half_pixel: bool = True,
) -> Ellipses:
    """Least squares on the outer border; arguments as for :func:`by_moments`, and:

    Args:
        alone: as above.
        structure: as above.
        spacing: as above.
        place: see :func:`scantling.measure.outline.border_points`.
        half_pixel: of ``centres``: add the half pixel by which they lie inside to each semi-axis. Without it a
            circumference is 2.9 pixels too short, at any size.
    """
    found = fit_outline(border_points(alone, structure, place) * spacing[:, None, ::-1])
    if place == "edges" or not half_pixel:
        return found
    along, across = found._directions()
    widths = [np.hypot(*(d * spacing[:, ::-1]).T) for d in (along, across)]
    return Ellipses(found.centre, found.semi_axes + np.stack(widths, -1) / 2, found.angle)


def by_consensus(alone: np.ndarray, structure: np.ndarray, spacing: np.ndarray) -> Ellipses:
    """Least squares on that part of the border on which an ellipse agrees; arguments as for :func:`by_moments`.

    Cuts and bites take away pieces of the border, so candidates are fits to the border without one arc (of 30 to 150
    degrees) or without two; the one whose 65th percentile of distances is least is refined by reweighted least squares
    with Tukey's biweight. As random sample consensus, but with the arcs that occur in place of random points, so that
    the result is always the same.
    """
    points = border_points(alone, structure) * spacing[:, None, ::-1]
    if not points.shape[1]:
        return fit_outline(points)
    given = np.isfinite(points[..., 0])
    middle = np.nanmedian(np.where(given.any(1)[:, None, None], points, 0.0), axis=1)
    moved = np.where(given[..., None], points - middle[:, None], 0.0)
    size = np.sqrt((moved**2).sum((1, 2)) / np.maximum(given.sum(1), 1))
    size = np.where(size > 0, size, 1.0)
    moved /= size[:, None, None]
    best = _consensus(moved, given)
    scale_floor = 0.25 * spacing.mean(1) / size
    for _ in range(_ROUNDS):
        gap = np.where(given, np.abs(_distance(best, moved)), np.nan)
        known = np.isfinite(gap).any(1, keepdims=True)
        with np.errstate(invalid="ignore"):
            middle_gap = np.nanmedian(np.where(known, gap, 0.0), axis=1)
            scale = np.maximum(_NORMAL * middle_gap, scale_floor)
            share = gap / (_TUKEY * scale[:, None])
            weight = np.where(share < 1, (1 - share**2) ** 2, 0.0)
        refined = fit_outline(np.where(given[..., None], moved, np.nan), weight)
        best = refined.where(np.isfinite(refined.angle), best)
    return Ellipses(best.centre * size[:, None] + middle, best.semi_axes * size[:, None], best.angle)


def fit_single(
    alone: np.ndarray, structure: np.ndarray, spacing: np.ndarray, method: Method = "auto"
) -> tuple[Ellipses, np.ndarray]:
    """Ellipses of single structures, in millimetres, and the names ``(N,)`` of the fits that were used.

    Args:
        alone: probabilities of one structure alone, ``(N, H, W)``, see :func:`scantling.measure.outline.isolate`.
        structure: where they are one half or more, likewise bool.
        spacing: between rows and between columns, ``(N, 2)``.
        method: see :func:`fit_ellipses`.
    """
    fits = {"moments": by_moments, "contour": by_contour, "robust": by_consensus}
    used = np.full(len(structure), method if method != "auto" else "moments", dtype="<U8")
    if method != "auto":
        return fits[method](alone, structure, spacing), used
    found = by_moments(alone, structure, spacing)
    drawn = found.in_pixels(spacing).masks(structure.shape[1:])
    odd = touches_edge(structure) | (overlap(drawn, structure) < ROBUST_BELOW)
    if odd.any():
        part = by_consensus(alone[odd], structure[odd], spacing[odd])
        usable = np.isfinite(part.semi_axes).all(1)
        rows = np.flatnonzero(odd)[usable]
        used[rows] = "robust"
        for name in ("centre", "semi_axes", "angle"):
            getattr(found, name)[rows] = getattr(part, name)[usable]
    return found, used


def _distance(ellipses: Ellipses, points: np.ndarray) -> np.ndarray:
    """Distances of points ``(N, P, 2)`` from the outlines, to first order (Sampson), below 0 inside; ``(N, P)``."""
    along, across = ellipses._directions()
    moved = points - ellipses.centre[:, None]
    u, v = (moved @ along[..., None])[..., 0], (moved @ across[..., None])[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (ellipses.semi_axes[:, i, None] ** 2 for i in (0, 1))
        return np.asarray((u * u / a + v * v / b - 1) / (2 * np.hypot(u / a, v / b)))


def _consensus(points: np.ndarray, given: np.ndarray) -> Ellipses:
    """The best of the fits without some arcs, to centred points ``(N, P, 2)`` of unit size."""
    count = len(points)
    x, y = points[..., 0], points[..., 1]
    sector = ((np.arctan2(y, x) / (2 * np.pi) + 0.5) * _SECTORS).astype(np.intp) % _SECTORS
    place = (np.arange(count)[:, None] * _SECTORS + sector).ravel()
    design = np.stack([x * x, x * y, y * y, x, y, np.ones_like(x)], -1) * given[..., None]
    upper = np.triu_indices(6)
    products = (design[..., upper[0]] * design[..., upper[1]]).reshape(-1, len(upper[0]))
    by_sector = np.stack([np.bincount(place, column, count * _SECTORS) for column in products.T], -1)
    kept = _subsets() @ by_sector.reshape(count, _SECTORS, -1)
    scatter = np.empty((*kept.shape[:2], 6, 6))
    scatter[..., upper[0], upper[1]] = scatter[..., upper[1], upper[0]] = kept
    # Divided by the number of points, so that conditions on its size mean the same for all.
    scatter /= np.maximum(scatter[..., 5:, 5:], 1)
    centre, semi_axes, angle = ellipse_of_scatter(scatter)
    candidates = semi_axes.shape[1]
    thin = slice(None, None, max(1, points.shape[1] // _SCORED))
    repeated = np.repeat(points[:, thin], candidates, 0)
    flat = Ellipses(centre.reshape(-1, 2), semi_axes.reshape(-1, 2), angle.ravel())
    gap = np.where(np.repeat(given[:, thin], candidates, 0), np.abs(_distance(flat, repeated)), np.nan)
    gap = np.where(np.isnan(angle.ravel())[:, None], np.inf, gap)
    score = _quantile(gap, _KEPT).reshape(count, candidates)
    pick = score.argmin(1)
    rows = np.arange(count)
    return Ellipses(centre[rows, pick], semi_axes[rows, pick], angle[rows, pick])


def _quantile(values: np.ndarray, share: float) -> np.ndarray:
    """The order statistic at ``share`` of each row, NaN left out; infinite where there is nothing."""
    ordered = np.sort(values, axis=1)
    known = (~np.isnan(values)).sum(1)
    found = ordered[np.arange(len(values)), np.maximum((share * known).astype(np.intp) - 1, 0)]
    return np.where(known > 0, np.nan_to_num(found, nan=np.inf), np.inf)


def _subsets() -> np.ndarray:
    """Which sectors each candidate keeps, ``(candidates, sectors)``: all, all but one arc, all but two."""
    sector = np.arange(_SECTORS)
    rows = [np.ones(_SECTORS)]
    for length, step in ((3, 3), (6, 3), (9, 3), (12, 3), (15, 3)):
        rows += [((sector - start) % _SECTORS >= length).astype(float) for start in range(0, _SECTORS, step)]
    arcs = [((sector - start) % _SECTORS >= 6).astype(float) for start in range(0, _SECTORS, 6)]
    rows += [arcs[i] * arcs[j] for i in range(len(arcs)) for j in range(i + 2, len(arcs))]
    return np.stack(rows)
