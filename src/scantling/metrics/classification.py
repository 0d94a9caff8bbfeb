"""Accuracy and its balanced forms, precision, recall and F1, from confusion matrices.

All functions take matrices ``(..., K, K)`` with true classes in rows, and never average over the leading axes.
A value without samples to be measured on is NaN, and means over classes are taken over the classes that have a value.
"""

from __future__ import annotations

import numpy as np

from scantling.metrics.kappa import confusion_matrix
from scantling.metrics.weights import mean_of_defined, ratio, take


def accuracy(matrix: np.ndarray) -> np.ndarray:
    """Share of right predictions."""
    return ratio(np.trace(matrix, axis1=-2, axis2=-1), np.sum(matrix, (-2, -1)))


def recall(matrix: np.ndarray) -> np.ndarray:
    """Share of each true class that was found, ``(..., K)``; NaN for classes without samples."""
    return ratio(np.diagonal(matrix, axis1=-2, axis2=-1), np.sum(matrix, -1))


def precision(matrix: np.ndarray) -> np.ndarray:
    """Share of each predicted class that is right, ``(..., K)``; NaN for classes never predicted."""
    return ratio(np.diagonal(matrix, axis1=-2, axis2=-1), np.sum(matrix, -2))


def f1(matrix: np.ndarray) -> np.ndarray:
    """F1 of each class, ``(..., K)``; NaN for classes neither true nor predicted anywhere."""
    return ratio(2 * np.diagonal(matrix, axis1=-2, axis2=-1), np.sum(matrix, -1) + np.sum(matrix, -2))


def balanced_accuracy(matrix: np.ndarray) -> np.ndarray:
    """Mean recall over the classes that have samples.

    >>> float(balanced_accuracy(np.array([[8, 2], [0, 5]])))
    0.9
    """
    return mean_of_defined(recall(matrix))


def macro_f1(matrix: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes that are true or predicted somewhere."""
    return mean_of_defined(f1(matrix))


def finding_matrices(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None, threshold: float = 0.5
) -> np.ndarray:
    """One two-by-two confusion matrix a finding, over the images in which it is known.

    Args:
        labels: ``(N, F)`` float, 0, 1 or NaN for not known.
        probabilities: ``(N, F)`` in [0, 1].
        weights: ``(N,)`` or ``(R, N)``.
        threshold: a finding is called from this probability on.

    Returns:
        ``(F, 2, 2)`` or ``(R, F, 2, 2)``; entry ``[..., 1, 1]`` counts the rightly called.
    """
    called = probabilities >= threshold
    matrices = []
    for finding in range(labels.shape[1]):
        known = ~np.isnan(labels[:, finding])
        truth = labels[known, finding].astype(np.int64)
        matrices.append(confusion_matrix(truth, called[known, finding], 2, take(weights, known)))
    return np.stack(matrices, axis=-3)
