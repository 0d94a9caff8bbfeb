"""Overlap of masks, image by image and class by class; distances of their boundaries are in ``metrics.surface``.

Class 0 is the background and is not scored. Pixels whose true class is unknown (-1 or 255) do not count anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scantling.core.errors import DataError
from scantling.metrics.surface import UNKNOWN, boundary_distance, hd95, surface_dice
from scantling.metrics.weights import as_given, by_sample, mean_of_defined, ratio

__all__ = [
    "boundary_distance",
    "by_structure",
    "dice",
    "hd95",
    "iou",
    "mean_over_classes",
    "mean_over_images",
    "pixel_matrices",
    "sensitivity",
    "specificity",
    "surface_dice",
]


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


def sensitivity(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Share of a class's pixels that are called it, ``(N, K - 1)``; NaN where the class is not there.

    Args: as :func:`pixel_matrices`: pixels outside the field of view (-1 or 255) do not count.
    """
    matrices = pixel_matrices(truth, predicted, num_classes)
    return ratio(np.diagonal(matrices, axis1=-2, axis2=-1), matrices.sum(-1))[:, 1:]


def specificity(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Share of all other pixels that are not called a class, ``(N, K - 1)``; conventions as :func:`sensitivity`."""
    matrices = pixel_matrices(truth, predicted, num_classes)
    both = np.diagonal(matrices, axis1=-2, axis2=-1)
    true, called = matrices.sum(-1), matrices.sum(-2)
    total = matrices.sum((-2, -1))[:, None]
    return ratio(total - true - called + both, total - true)[:, 1:]


def by_structure(
    figure: Callable[..., np.ndarray], truth: np.ndarray, predicted: np.ndarray, structures: int, **options: Any
) -> np.ndarray:
    """A figure of structures that may overlap, each against everything else.

    Args:
        figure: such as :func:`dice`, called with two classes.
        truth: ``(N, H, W)`` (or any number of space axes) sums of bits, ``2^k`` for structure k; -1 and 255
            are unknown.
        predicted: same shape, sums of bits.
        structures: S.
        options: of the figure.

    Returns:
        ``(N, S)``.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    unknown = np.isin(truth, UNKNOWN)
    found = []
    for k in range(structures):
        true = np.where(unknown, 255, (truth.astype(np.int64) >> k) & 1)
        found.append(figure(true, (predicted.astype(np.int64) >> k) & 1, 2, **options))
    return np.concatenate(found, axis=1)


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
