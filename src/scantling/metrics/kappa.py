"""Confusion matrices and Cohen's kappa, plain and weighted.

Source: Cohen 1960 and 1968; the quadratic weights as in Huang et al. 2023, arXiv 2110.14160.
"""

from __future__ import annotations

import numpy as np

from scantling.core.errors import DataError
from scantling.metrics.weights import as_given, by_sample, group_sums


def confusion_matrix(
    labels: np.ndarray, predicted: np.ndarray, num_classes: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Weighted counts of (true class, predicted class).

    Args:
        labels: true classes ``(N,)`` int in ``[0, num_classes)``.
        predicted: predicted classes, same shape and range.
        num_classes: K.
        weights: ``(N,)`` or ``(R, N)``.

    Returns:
        ``(K, K)`` or ``(R, K, K)`` float64; rows are true classes.

    Raises:
        DataError: a class outside the range.

    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 1, 0]), 2).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    labels, predicted = np.asarray(labels, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    for name, classes in (("label", labels), ("prediction", predicted)):
        if classes.size and (classes.min() < 0 or classes.max() >= num_classes):
            raise DataError(f"a {name} outside 0 ... {num_classes - 1}", do="check the target's number of classes")
    columns = by_sample(weights, len(labels))
    sums = group_sums(labels * num_classes + predicted, num_classes**2, columns)
    return as_given(sums.reshape(-1, num_classes, num_classes), weights)


def kappa(matrix: np.ndarray) -> np.ndarray:
    """Cohen's kappa of confusion matrices ``(..., K, K)``: agreement beyond chance, 1 at best; see :func:`_kappa`.

    >>> round(float(kappa(np.array([[20, 5], [10, 15]]))), 6)
    0.4
    """
    return _kappa(matrix, power=0)


def linear_weighted_kappa(matrix: np.ndarray) -> np.ndarray:
    """Kappa in which a confusion costs its distance in grades; conventions as :func:`_kappa`."""
    return _kappa(matrix, power=1)


def quadratic_weighted_kappa(matrix: np.ndarray) -> np.ndarray:
    """Kappa in which a confusion costs its squared distance in grades; conventions as :func:`_kappa`.

    With population moments of true grade y and predicted grade p, ``1 - kappa`` equals
    ``mean((y - p)^2) / (var(y) + var(p) + (mean(y) - mean(p))^2)``.

    >>> c = [[90, 10, 0, 0, 0], [8, 15, 7, 0, 0], [2, 6, 30, 8, 1], [0, 0, 4, 9, 3], [0, 0, 1, 3, 6]]
    >>> round(float(quadratic_weighted_kappa(np.array(c))), 6)
    0.89378
    """
    return _kappa(matrix, power=2)


def _kappa(matrix: np.ndarray, power: int) -> np.ndarray:
    """``1 - sum(d O) / sum(d E)`` with the cost ``d = |i - j| ** power`` off the diagonal.

    Both sums are taken over whole counts, so that a constant predictor gives exactly 0. Where chance agreement is
    perfect too (0/0: one and the same class throughout), kappa is defined as 0: nothing was told apart. An empty matrix
    gives NaN.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    grades = np.arange(matrix.shape[-1])
    distance = np.abs(grades[:, None] - grades[None, :])
    cost = np.where(distance > 0, distance**power, 0).astype(np.float64)
    total = matrix.sum((-2, -1))
    observed = total * (cost * matrix).sum((-2, -1))
    expected = (cost * matrix.sum(-1)[..., :, None] * matrix.sum(-2)[..., None, :]).sum((-2, -1))
    value = np.divide(expected - observed, expected, out=np.zeros_like(total), where=expected > 0)
    return np.where(total > 0, value, np.nan)
