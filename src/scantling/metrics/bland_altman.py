"""How well measurements agree with the truth: error, bias and limits of agreement."""

from __future__ import annotations

import numpy as np

from scantling.metrics.weights import as_given, by_sample, ratio

NAMES = ("mae", "median", "bias", "lower_limit", "upper_limit", "failure_rate")
"""What :func:`agreement` gives, in the order of tables."""

_LIMIT = 1.96


def agreement(truth: np.ndarray, measured: np.ndarray, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Error of measurements, in their unit.

    Args:
        truth: ``(N,)``, NaN where there is none: such a row does not count at all.
        measured: ``(N,)``, NaN where nothing could be measured: counted by ``failure_rate`` alone.
        weights: ``(N,)`` or ``(R, N)``.

    Returns:
        Scalars or ``(R,)``, NaN where undefined: ``mae`` and ``median``, the mean and the median of the absolute
        error; ``bias``, the mean of measured less true; ``lower_limit`` and ``upper_limit`` of agreement, the bias less
        and plus 1.96 standard deviations (of the sample, n - 1) of the difference; ``failure_rate`` in [0, 1].

    Source: Bland and Altman 1986, Lancet 327(8476):307-310.

    >>> found = agreement(np.array([100.0, 200.0, 300.0]), np.array([101.0, 199.0, np.nan]))
    >>> float(found["mae"]), float(found["bias"]), round(float(found["failure_rate"]), 3)
    (1.0, 0.0, 0.333)
    """
    truth, measured = np.asarray(truth, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    columns = by_sample(weights, len(truth))
    asked = ~np.isnan(truth)
    answered = asked & ~np.isnan(measured)
    difference = np.where(answered, measured - truth, 0.0)
    here = columns * answered[:, None]
    count = here.sum(0)
    bias = ratio(here.T @ difference, count)
    centred = difference[:, None] - np.nan_to_num(bias)
    spread = np.sqrt(ratio((here * centred**2).sum(0), np.where(count > 1, count - 1, 0)))
    found = {
        "mae": ratio(here.T @ np.abs(difference), count),
        "median": _median(np.abs(difference), here),
        "bias": bias,
        "lower_limit": bias - _LIMIT * spread,
        "upper_limit": bias + _LIMIT * spread,
        "failure_rate": ratio((columns * (asked & ~answered)[:, None]).sum(0), (columns * asked[:, None]).sum(0)),
    }
    return {name: as_given(values, weights) for name, values in found.items()}


def _median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Medians ``(R,)`` of ``values (N,)`` repeated by whole weights ``(N, R)``; NaN where all are 0."""
    if not len(values):
        return np.full(weights.shape[1], np.nan)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order], axis=0)
    total = reached[-1]
    # The lower and the upper of the two values in the middle; of an odd number they are the same.
    lower, upper = (values[order][there.argmax(0)] for there in (reached >= total / 2, reached > total / 2))
    return np.where(total > 0, (lower + upper) / 2, np.nan)
