"""How well scores rank: area under the ROC curve and average precision, with exact ties and weights.

One sort serves all replicates of the weights; the rest is cumulative sums.
"""

from __future__ import annotations

import numpy as np

from scantling.metrics.weights import as_given, by_sample, mean_of_defined, ratio, take


def binary_areas(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Area under the ROC curve, and average precision (area under the stepwise precision-recall curve).

    Args:
        labels: ``(N,)``, true where positive.
        scores: ``(N,)``, higher is more positive, any scale; only their order counts.
        weights: ``(N,)`` or ``(R, N)``.

    Returns:
        AUROC and AUPRC, each a scalar or ``(R,)``. A tie of a positive with a negative counts half in the AUROC; all
        scores of one tie enter the precision-recall curve together. NaN where a class has no weight (the AUPRC needs
        positives only).

    >>> [round(float(a), 4) for a in binary_areas(np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.4, 0.9]))]
    [0.875, 0.8333]
    """
    positive = np.asarray(labels).astype(bool)
    falling = -np.asarray(scores, dtype=np.float64)
    order = np.argsort(falling, kind="stable")
    above, below = order[positive[order]], order[~positive[order]]
    columns = by_sample(weights, len(positive))
    weight = columns[above]
    true_from = np.cumsum(weight, axis=0)
    false_from = _cumulative(columns[below])
    true_scores, false_scores = falling[above], falling[below]
    first = np.searchsorted(false_scores, true_scores, side="left")
    last = np.searchsorted(false_scores, true_scores, side="right")
    positives, negatives = weight.sum(0), false_from[-1]

    false_until = false_from[last]
    outranking = false_until if np.array_equal(first, last) else (false_from[first] + false_until) / 2
    auroc = 1 - ratio(np.einsum("nr,nr->r", weight, outranking), positives * negatives)

    end_of_tie = np.searchsorted(true_scores, true_scores, side="right") - 1
    true_until = true_from if np.array_equal(end_of_tie, np.arange(len(above))) else true_from[end_of_tie]
    called = true_until + false_until
    precision = np.divide(true_until, called, out=np.zeros_like(called), where=called > 0)
    auprc = ratio(np.einsum("nr,nr->r", weight, precision), positives)
    return as_given(auroc, weights), as_given(auprc, weights)


def areas(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """AUROC and AUPRC of each class against the rest, or of each finding over the images in which it is known.

    Args:
        labels: classes ``(N,)`` int, or findings ``(N, K)`` float with NaN for not known.
        probabilities: ``(N, K)``; any scores serve, since only their order within a column counts.
        weights: ``(N,)`` or ``(R, N)``.

    Returns:
        ``{"auroc", "auprc"}``, each ``(K,)`` or ``(R, K)``; NaN where undefined. With two classes the first column is
        the first class against the second.
    """
    columns = []
    for k in range(probabilities.shape[1]):
        if np.ndim(labels) == 1:
            columns.append(binary_areas(labels == k, probabilities[:, k], weights))
        else:
            known = ~np.isnan(labels[:, k])
            columns.append(binary_areas(labels[known, k] > 0.5, probabilities[known, k], take(weights, known)))
    auroc, auprc = (np.stack(values, axis=-1) for values in zip(*columns, strict=True))
    return {"auroc": auroc, "auprc": auprc}


def macro_area(per_class: np.ndarray, exclusive: bool) -> np.ndarray:
    """Mean over the classes or findings that have a value; of two exclusive classes the second is the positive one.

    A class without positives has no average precision that means anything, and no AUROC: it is left out.
    """
    if exclusive and per_class.shape[-1] == 2:
        return per_class[..., 1]
    return mean_of_defined(per_class)


def roc_curve(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of the ROC curve, one for each distinct score, from (0, 0) on.

    Args:
        labels: ``(N,)``, true where positive.
        scores: ``(N,)``, higher is more positive.
        weights: ``(N,)`` or None.

    Returns:
        False-positive rate, true-positive rate (1 - specificity, sensitivity), and the score from which on a sample is
        called positive; each ``(D + 1,)``, the first threshold is infinite. Rates are NaN where a class is absent.
    """
    true_until, false_until, thresholds = cumulative_counts(labels, scores, weights)
    true, false = true_until[:, 0], false_until[:, 0]
    return ratio(false, false[-1]), ratio(true, true[-1]), thresholds


def cumulative_counts(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weight of the true and of the false positives when everything from a score on is called positive.

    Returns:
        True and false positives, each ``(D + 1, R)`` over the D distinct scores from high to low, and the thresholds
        ``(D + 1,)``; the first row calls nothing and has the threshold infinity.
    """
    positive = np.asarray(labels).astype(bool)
    scores = np.asarray(scores, dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1) + 1 if len(ordered) else np.array([], int)
    ends = np.append(0, ends)
    columns = by_sample(weights, len(scores))[order]
    is_true = positive[order][:, None]
    thresholds = np.append(np.inf, ordered[ends[1:] - 1])
    return _cumulative(columns * is_true)[ends], _cumulative(columns * ~is_true)[ends], thresholds


def _cumulative(columns: np.ndarray) -> np.ndarray:
    """Cumulative sums over samples with a leading row of zeros: ``(N + 1, R)``."""
    out = np.zeros((len(columns) + 1, columns.shape[1]))
    np.cumsum(columns, axis=0, out=out[1:])
    return out
