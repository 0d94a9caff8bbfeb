"""Whether probabilities mean what they say: reliability curve, expected calibration error, Brier score.

For exclusive classes the calibration error is that of the predicted class (top-label); for findings, and per class, it
is that of the probability of being present. Source: Guo et al. 2017, arXiv 1706.04599, section 2; Brier 1950.
"""

from __future__ import annotations

import numpy as np

from scantling.metrics.weights import as_given, by_sample, group_sums, mean_of_defined, ratio, take


def reliability_curve(
    probabilities: np.ndarray, outcomes: np.ndarray, weights: np.ndarray | None = None, bins: int = 15
) -> dict[str, np.ndarray]:
    """Mean probability and observed frequency in equally wide bins of probability.

    Args:
        probabilities: ``(N,)`` in [0, 1].
        outcomes: ``(N,)``, true where the event came about.
        weights: ``(N,)`` or ``(R, N)``.
        bins: number of bins; a probability on an edge belongs to the upper bin, 1 to the last one.

    Returns:
        ``weight``, ``probability`` and ``frequency``, each ``(bins,)`` or ``(R, bins)``; the last two NaN where empty.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    columns = by_sample(weights, len(probabilities))
    codes = np.clip((probabilities * bins).astype(np.int64), 0, bins - 1)
    weight = group_sums(codes, bins, columns)
    probability = ratio(group_sums(codes, bins, columns * probabilities[:, None]), weight)
    frequency = ratio(group_sums(codes, bins, columns * np.asarray(outcomes, dtype=np.float64)[:, None]), weight)
    named = {"weight": weight, "probability": probability, "frequency": frequency}
    return {name: as_given(values, weights) for name, values in named.items()}


def binary_calibration_error(
    probabilities: np.ndarray, outcomes: np.ndarray, weights: np.ndarray | None = None, bins: int = 15
) -> np.ndarray:
    """Mean absolute gap between probability and frequency over the bins of :func:`reliability_curve`, by weight."""
    curve = reliability_curve(probabilities, outcomes, weights, bins)
    gap = np.nan_to_num(np.abs(curve["probability"] - curve["frequency"]))
    return ratio((curve["weight"] * gap).sum(-1), curve["weight"].sum(-1))


def expected_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None, bins: int = 15
) -> np.ndarray:
    """Expected calibration error: of the predicted class, or the mean of the findings' own errors.

    Args:
        labels: classes ``(N,)`` int, or findings ``(N, K)`` float with NaN for not known.
        probabilities: ``(N, K)`` in [0, 1].
        weights: ``(N,)`` or ``(R, N)``.
        bins: number of equally wide bins.

    Returns:
        A scalar in [0, 1], or ``(R,)``.
    """
    if np.ndim(labels) == 1:
        return binary_calibration_error(*top_label(labels, probabilities), weights, bins)
    return mean_of_defined(per_class_calibration_error(labels, probabilities, weights, bins))


def per_class_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None, bins: int = 15
) -> np.ndarray:
    """Calibration error of each class's (or finding's) own probability: ``(K,)`` or ``(R, K)``."""
    errors = []
    for k in range(probabilities.shape[1]):
        known, outcome = _outcome(labels, k)
        errors.append(binary_calibration_error(probabilities[known, k], outcome, take(weights, known), bins))
    return np.stack(errors, axis=-1)


def brier_score(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean squared distance of the probabilities from the truth; 0 is perfect.

    Exclusive classes: summed over the classes, in [0, 2]. Findings: mean of the findings' own scores, in [0, 1].
    """
    per_class = per_class_brier_score(labels, probabilities, weights)
    return per_class.sum(-1) if np.ndim(labels) == 1 else mean_of_defined(per_class)


def per_class_brier_score(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Brier score of each class's (or finding's) own probability: ``(K,)`` or ``(R, K)``, in [0, 1]."""
    scores = []
    for k in range(probabilities.shape[1]):
        known, outcome = _outcome(labels, k)
        columns = by_sample(take(weights, known), len(outcome))
        error = (probabilities[known, k] - outcome) ** 2
        scores.append(as_given(ratio(columns.T @ error, columns.sum(0)), weights))
    return np.stack(scores, axis=-1)


def top_label(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the predicted class ``(N,)``, and whether the prediction is right ``(N,)``."""
    return probabilities.max(1), probabilities.argmax(1) == labels


def _outcome(labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows in which class or finding ``k`` is known, and whether it is there, as floats."""
    if np.ndim(labels) == 1:
        return np.ones(len(labels), dtype=bool), (labels == k).astype(np.float64)
    known = ~np.isnan(labels[:, k])
    return known, labels[known, k].astype(np.float64)
