"""Overlap and boundary distance of masks, image by image and class by class.

Class 0 is the background and is not scored. Pixels whose true class is unknown (-1 or 255) do not count anywhere.
"""

from __future__ import annotations

import numpy as np

from scantling.core.errors import DataError
from scantling.metrics.weights import as_given, by_sample, mean_of_defined, ratio

UNKNOWN = (-1, 255)
"""Mask values of pixels outside the field of view or without a label."""


def pixel_matrices(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Confusion matrix of the pixels of every image.

    Args:
        truth: ``(N, H, W)`` (or any number of space axes) int classes; -1 and 255 are unknown.
        predicted: same shape, classes in ``[0, num_classes)``.
        num_classes: K, with the background.

    Returns:
        Counts ``(N, K, K)`` int64, true classes in rows.

    Raises:
        DataError: shapes that differ, or a class outside the range.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape:
        raise DataError(f"masks of shapes {truth.shape} and {predicted.shape}", do="resize the prediction first")
    n = len(truth)
    known = ~np.isin(truth, UNKNOWN)
    image = np.broadcast_to(np.arange(n).reshape((n,) + (1,) * (truth.ndim - 1)), truth.shape)[known]
    true, called = truth[known].astype(np.int64), predicted[known].astype(np.int64)
    if true.size and (min(true.min(), called.min()) < 0 or max(true.max(), called.max()) >= num_classes):
        raise DataError(f"a mask class outside 0 ... {num_classes - 1}", do="check the target's mask classes")
    counts = np.bincount((image * num_classes + true) * num_classes + called, minlength=n * num_classes**2)
    return counts.reshape(n, num_classes, num_classes)


def dice(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Dice coefficient of every image and foreground class.

    Args: as :func:`pixel_matrices`.

    Returns:
        ``(N, K - 1)`` in [0, 1]. A class that is neither there nor called in an image is NaN (left out of means); one
        that is there but not called, or called but not there, is 0.

    >>> dice(np.array([[[0, 1, 1, 255]]]), np.array([[[0, 1, 0, 1]]]), 2)
    array([[0.66666667]])
    """
    matrices = pixel_matrices(truth, predicted, num_classes)
    both = np.diagonal(matrices, axis1=-2, axis2=-1)
    return ratio(2 * both, matrices.sum(-1) + matrices.sum(-2))[:, 1:]


def iou(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Intersection over union of every image and foreground class, ``(N, K - 1)``; conventions as :func:`dice`."""
    matrices = pixel_matrices(truth, predicted, num_classes)
    both = np.diagonal(matrices, axis1=-2, axis2=-1)
    return ratio(both, matrices.sum(-1) + matrices.sum(-2) - both)[:, 1:]


def hd95(
    truth: np.ndarray, predicted: np.ndarray, num_classes: int, spacing: float | np.ndarray | tuple[float, ...] = 1.0
) -> np.ndarray:
    """95th percentile of the distance between the boundaries, of every image and foreground class.

    Args:
        truth: ``(N, H, W)`` or ``(N, D, H, W)`` int classes; -1 and 255 are unknown and count as background.
        predicted: same shape.
        num_classes: K, with the background.
        spacing: size of a pixel: one number, one number an axis, or ``(N, axes)``.

    Returns:
        ``(N, K - 1)`` in the unit of ``spacing``; see :func:`boundary_distance` for the conventions.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape:
        raise DataError(f"masks of shapes {truth.shape} and {predicted.shape}", do="resize the prediction first")
    axes = truth.ndim - 1
    spacings = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (len(truth), axes))
    out = np.empty((len(truth), num_classes - 1))
    for n, (true, called) in enumerate(zip(truth, predicted, strict=True)):
        known = ~np.isin(true, UNKNOWN)
        for k in range(1, num_classes):
            out[n, k - 1] = boundary_distance((true == k) & known, (called == k) & known, spacings[n])
    return out


def boundary_distance(
    truth: np.ndarray, predicted: np.ndarray, spacing: np.ndarray | tuple[float, ...], percentile: float = 95.0
) -> float:
    """The larger of the two percentiles of the distances from one boundary to the other.

    A boundary is made of the mask's pixels that touch the outside (by an edge, or the edge of the image), and
    distances go from pixel centre to pixel centre.

    Args:
        truth: boolean, any number of axes.
        predicted: boolean, same shape.
        spacing: size of a pixel along each axis.
        percentile: 95 for HD95, 100 for the Hausdorff distance.

    Returns:
        The distance; NaN if both masks are empty; the diagonal of the image, as the worst case, if one of them is.
    """
    from scipy.ndimage import distance_transform_edt

    spacing = np.asarray(spacing, dtype=np.float64)
    if not truth.any() and not predicted.any():
        return float("nan")
    if not truth.any() or not predicted.any():
        return float(np.linalg.norm(np.array(truth.shape) * spacing))
    box = _bounding_box(truth | predicted)
    edge_true, edge_called = _boundary(truth[box]), _boundary(predicted[box])
    to_true = distance_transform_edt(~edge_true, sampling=spacing)
    to_called = distance_transform_edt(~edge_called, sampling=spacing)
    there = np.percentile(to_true[edge_called], percentile)
    back = np.percentile(to_called[edge_true], percentile)
    return float(max(there, back))


def mean_over_images(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean over the images in which a class has a value.

    Args:
        values: ``(N, C)``, NaN where undefined.
        weights: ``(N,)`` or ``(R, N)``.

    Returns:
        ``(C,)`` or ``(R, C)``; NaN for classes without any value.
    """
    values = np.asarray(values, dtype=np.float64)
    columns = by_sample(weights, len(values))
    defined = ~np.isnan(values)
    return as_given(ratio(columns.T @ np.where(defined, values, 0.0), columns.T @ defined), weights)


def mean_over_classes(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean over classes of :func:`mean_over_images`: a scalar or ``(R,)``."""
    return mean_of_defined(mean_over_images(values, weights))


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    box = []
    for axis in range(mask.ndim):
        inside = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return tuple(box)


def _boundary(mask: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_erosion

    return mask & ~binary_erosion(mask)
