"""Operating points: sensitivity at a fixed specificity and the reverse, and the referable question for grades."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scantling.metrics.ranking import cumulative_counts
from scantling.metrics.weights import as_given, ratio

REFERABLE_FROM = 2
"""Diabetic retinopathy is referred from grade 2 (moderate) on."""

_SLACK = 1e-9


def referable(labels: np.ndarray, first_grade: int = REFERABLE_FROM) -> np.ndarray:
    """Which grades ``(N,)`` call for a referral: boolean ``(N,)``."""
    return np.asarray(labels) >= first_grade


def referable_score(
    probabilities: np.ndarray, scores: np.ndarray | None = None, first_grade: int = REFERABLE_FROM
) -> np.ndarray:
    """A score ``(N,)`` for being referable: the continuous severity where there is one, else the probability of all
    grades from ``first_grade`` on.

    Args:
        probabilities: ``(N, K)``.
        scores: continuous severities ``(N,)``, or None.
        first_grade: lowest referable grade.
    """
    return probabilities[:, first_grade:].sum(1) if scores is None else np.asarray(scores, dtype=np.float64)


def sensitivity_at_specificity(
    labels: np.ndarray, scores: np.ndarray, specificity: float | Sequence[float], weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Highest sensitivity among the thresholds that keep at least a given specificity.

    Args:
        labels: ``(N,)``, true where positive.
        scores: ``(N,)``, higher is more positive; a sample is called positive from the threshold on.
        specificity: one in [0, 1], or T of them.
        weights: ``(N,)`` or ``(R, N)``.

    Returns:
        Sensitivities and thresholds, each of the shape of ``specificity``, with a leading R where the weights have one.
        No interpolation between thresholds; infinity calls nothing positive. NaN where a class has no weight.

    >>> sensitivity, threshold = sensitivity_at_specificity(np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.4, 0.9]), 1.0)
    >>> float(sensitivity), float(threshold)
    (0.5, 0.9)
    """
    true, false, thresholds = cumulative_counts(labels, scores, weights)
    allowed = (1 - np.atleast_1d(specificity)[:, None]) * false[-1] * (1 + _SLACK) + _SLACK
    at = np.stack([(false <= limit).sum(0) - 1 for limit in allowed])
    return _points(at, true, true, false, thresholds, np.ndim(specificity) == 0, weights)


def specificity_at_sensitivity(
    labels: np.ndarray, scores: np.ndarray, sensitivity: float | Sequence[float], weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Highest specificity among the thresholds that reach at least a given sensitivity.

    Args, Returns: as :func:`sensitivity_at_specificity` with the two exchanged.
    """
    true, false, thresholds = cumulative_counts(labels, scores, weights)
    needed = np.atleast_1d(sensitivity)[:, None] * true[-1] * (1 - _SLACK) - _SLACK
    at = np.stack([(true < limit).sum(0) for limit in needed])
    return _points(at, false[-1] - false, true, false, thresholds, np.ndim(sensitivity) == 0, weights)


def _points(
    at: np.ndarray,
    hits: np.ndarray,
    true: np.ndarray,
    false: np.ndarray,
    thresholds: np.ndarray,
    scalar: bool,
    weights: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Rates and thresholds at the positions ``at (T, R)`` of ``hits (D + 1, R)``, NaN where a class has no weight."""
    rates = ratio(np.take_along_axis(hits, at, axis=0), hits.max(0))
    undefined = (true[-1] == 0) | (false[-1] == 0)
    rates, cuts = np.where(undefined, np.nan, rates).T, np.where(undefined, np.nan, thresholds[at]).T
    if scalar:
        rates, cuts = rates[:, 0], cuts[:, 0]
    return as_given(rates, weights), as_given(cuts, weights)
