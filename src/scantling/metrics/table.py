"""The metrics by name, all called alike: ``METRICS["auroc"](labels, probabilities, weights)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from scantling.metrics import classification, segmentation
from scantling.metrics.kappa import confusion_matrix, kappa, quadratic_weighted_kappa
from scantling.metrics.ranking import areas, macro_area
from scantling.metrics.weights import mean_of_defined, take


class Metric(Protocol):
    """A number that says how good predictions are.

    Args:
        labels: classes ``(N,)`` int (negative: missing, left out), findings ``(N, K)`` float (NaN: not known, left
            out), or masks ``(N, H, W)`` int (-1 or 255: unknown, left out).
        probabilities: ``(N, K)``, or ``(N, K, H, W)`` for masks.
        weights: ``(N,)`` or ``(R, N)``, None for ones.

    Returns:
        A scalar, or ``(R,)``; NaN where undefined. Findings are averaged over the findings that have a value.
    """

    def __call__(
        self, labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None
    ) -> np.ndarray: ...


def _of_matrix(
    of_classes: Callable[[np.ndarray], np.ndarray], of_finding: Callable[[np.ndarray], np.ndarray]
) -> Metric:
    """A metric of the confusion matrix of the classes, or its mean over the two-by-two matrices of the findings."""

    def metric(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        if np.ndim(labels) == 2:
            return mean_of_defined(of_finding(classification.finding_matrices(labels, probabilities, weights)))
        labels, probabilities, weights = _labelled(labels, probabilities, weights)
        return of_classes(confusion_matrix(labels, probabilities.argmax(1), probabilities.shape[1], weights))

    return metric


def _area(name: str) -> Metric:
    def metric(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        exclusive = np.ndim(labels) == 1
        if exclusive:
            labels, probabilities, weights = _labelled(labels, probabilities, weights)
        return macro_area(areas(labels, probabilities, weights)[name], exclusive)

    return metric


def _of_masks(of_pixels: Callable[[np.ndarray, np.ndarray, int], np.ndarray]) -> Metric:
    def metric(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        values = of_pixels(labels, probabilities.argmax(1), probabilities.shape[1])
        return segmentation.mean_over_classes(values, weights)

    return metric


def _labelled(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    known = labels >= 0
    if known.all():
        return labels, probabilities, weights
    return labels[known], probabilities[known], take(weights, known)


def _positive_f1(matrix: np.ndarray) -> np.ndarray:
    return classification.f1(matrix)[..., 1]


def _positive_recall(matrix: np.ndarray) -> np.ndarray:
    return classification.recall(matrix)[..., 1]


METRICS: dict[str, Metric] = {
    "accuracy": _of_matrix(classification.accuracy, classification.accuracy),
    "balanced_accuracy": _of_matrix(classification.balanced_accuracy, classification.balanced_accuracy),
    "macro_recall": _of_matrix(classification.balanced_accuracy, _positive_recall),
    "macro_f1": _of_matrix(classification.macro_f1, _positive_f1),
    "auroc": _area("auroc"),
    "auprc": _area("auprc"),
    "kappa": _of_matrix(kappa, kappa),
    "quadratic_weighted_kappa": _of_matrix(quadratic_weighted_kappa, quadratic_weighted_kappa),
    "dice": _of_masks(segmentation.dice),
    "hd95": _of_masks(segmentation.hd95),
}
"""Metrics by the field's names. ``hd95`` is in pixels here; with pixel sizes use ``segmentation.hd95``."""
