"""Distances between the boundaries of masks: their 95th percentile, and the share within a tolerance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scantling.core.errors import DataError

UNKNOWN = (-1, 255)
"""Mask values of pixels outside the field of view or without a label."""

Spacing = float | np.ndarray | tuple[float, ...]
"""Size of a pixel: one number, one number an axis, or ``(N, axes)``."""


def hd95(truth: np.ndarray, predicted: np.ndarray, num_classes: int, spacing: Spacing = 1.0) -> np.ndarray:
    """95th percentile of the distance between the boundaries, of every image and foreground class.

    Args:
        truth: ``(N, H, W)`` or ``(N, D, H, W)`` int classes; -1 and 255 are unknown and count as background.
        predicted: same shape.
        num_classes: K, with the background.
        spacing: size of a pixel: one number, one number an axis, or ``(N, axes)``.

    Returns:
        ``(N, K - 1)`` in the unit of ``spacing``; see :func:`boundary_distance` for the conventions.
    """
    return _each(boundary_distance, truth, predicted, num_classes, spacing)


def surface_dice(
    truth: np.ndarray, predicted: np.ndarray, num_classes: int, tolerance: float = 2.0, spacing: Spacing = 1.0
) -> np.ndarray:
    """Share of both boundaries that lies within a tolerance of the other, of every image and foreground class.

    Args:
        truth: as for :func:`hd95`.
        predicted: same shape.
        num_classes: K, with the background.
        tolerance: distance that does not count as an error, such as that between two readers; unit of ``spacing``.
        spacing: size of a pixel.

    Returns:
        ``(N, K - 1)`` in [0, 1]: 1 where no part of a boundary is further off than the tolerance; NaN where a class is
        neither there nor called, 0 where only one of both.

    Source: Nikolov et al. 2021, J Med Internet Res 23(7), arXiv 1809.04430. The paper weighs the elements of a surface
    by their area; here each pixel of a boundary counts alike.
    """

    def share(true: np.ndarray, called: np.ndarray, size: np.ndarray) -> float:
        if not true.any() and not called.any():
            return float("nan")
        if not true.any() or not called.any():
            return 0.0
        there, back = boundary_gaps(true, called, size)
        # A pixel's centre is only known to the last digit of the spacing.
        near = tolerance * (1 + 1e-9)
        return float(((there <= near).sum() + (back <= near).sum()) / (there.size + back.size))

    return _each(share, truth, predicted, num_classes, spacing)


def boundary_distance(truth: np.ndarray, predicted: np.ndarray, spacing: Spacing, percentile: float = 95.0) -> float:
    """The larger of the two percentiles of the distances from one boundary to the other.

    Args:
        truth: boolean, any number of axes.
        predicted: boolean, same shape.
        spacing: size of a pixel along each axis.
        percentile: 95 for HD95, 100 for the Hausdorff distance.

    Returns:
        The distance; NaN if both masks are empty; the diagonal of the image, as the worst case, if one of them is.
    """
    spacing = np.asarray(spacing, dtype=np.float64)
    if not truth.any() and not predicted.any():
        return float("nan")
    if not truth.any() or not predicted.any():
        return float(np.linalg.norm(np.array(truth.shape) * spacing))
    there, back = boundary_gaps(truth, predicted, spacing)
    return float(max(np.percentile(there, percentile), np.percentile(back, percentile)))


def boundary_gaps(truth: np.ndarray, predicted: np.ndarray, spacing: Spacing) -> tuple[np.ndarray, np.ndarray]:
    """How far every pixel of each boundary lies from the other boundary.

    A boundary is made of the mask's pixels that touch the outside (by an edge, or the edge of the image), and
    distances go from pixel centre to pixel centre.

    Args:
        truth: boolean, any number of axes, not empty.
        predicted: boolean, same shape, not empty.
        spacing: size of a pixel along each axis.

    Returns:
        Distances ``(p,)`` of the predicted boundary's pixels from the true one, and ``(t,)`` the other way round.
    """
    from scipy.ndimage import distance_transform_edt

    box = _bounding_box(truth | predicted)
    edge_true, edge_called = _boundary(truth[box]), _boundary(predicted[box])
    to_true = distance_transform_edt(~edge_true, sampling=spacing)
    to_called = distance_transform_edt(~edge_called, sampling=spacing)
    return to_true[edge_called], to_called[edge_true]


def _each(
    measure: Callable[[np.ndarray, np.ndarray, np.ndarray], float],
    truth: np.ndarray,
    predicted: np.ndarray,
    num_classes: int,
    spacing: Spacing,
) -> np.ndarray:
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape:
        raise DataError(f"masks of shapes {truth.shape} and {predicted.shape}", do="resize the prediction first")
    spacings = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (len(truth), truth.ndim - 1))
    out = np.empty((len(truth), num_classes - 1))
    for n, (true, called) in enumerate(zip(truth, predicted, strict=True)):
        known = ~np.isin(true, UNKNOWN)
        for k in range(1, num_classes):
            out[n, k - 1] = measure((true == k) & known, (called == k) & known, spacings[n])
    return out


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    box = []
    for axis in range(mask.ndim):
        inside = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return tuple(box)


def _boundary(mask: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_erosion

    return mask & ~binary_erosion(mask)
