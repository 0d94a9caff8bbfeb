"""Replicates of the moments and histograms of similarities when images, not pairs, are drawn again.

Pairs share images, so an interval from pairs is far too narrow. A replicate gives each image a weight ``w`` (how often
it was drawn; two copies of one image are no pair), and a sum over pairs becomes ``sum of w_i w_j t_ij``. We take the
part of it that is linear in ``w - 1``, the Hajek projection of a U-statistic: what an image's pairs sum to is known
exactly in O(N D^2), and a thousand replicates are one product of matrices. What is left out is smaller by the square
root of the number of images. Scores are computed anew from the moments of each replicate.

Source: Hoeffding 1948; Efron 1979.
"""

from __future__ import annotations

import numpy as np

from scantling.assess.distances import Similarities
from scantling.assess.embedded import Embedded
from scantling.assess.histogram import BINS, row_histograms
from scantling.assess.moments import Moments, row_sums, spread
from scantling.metrics.bootstrap import cluster_codes, resampled_weights

_ROWS = 64
"""Replicates whose weights are floats at once."""


def replicates(
    data: Embedded,
    weights: np.ndarray,
    count: int,
    generator: np.random.Generator,
    histograms: bool = False,
    patients: np.ndarray | None = None,
) -> list[Similarities]:
    """Similarities in ``count`` replicates, one entry a matrix of weights.

    Args:
        data: the set.
        weights: ``(W, K, K)`` symmetric, of the pairs of every two groups.
        count: R, how many.
        generator: source of the draws.
        histograms: also give histograms ``(R, BINS)``, which looks at all pairs.
        patients: ``(N,)``, ints, negative where not known: a patient's images are drawn together.

    Returns:
        For each of the W matrices moments of shape ``(R,)``.
    """
    drawn = _drawn(data, count, generator, patients)
    sums = row_sums(data, weights)
    degree, first, second = (a.cpu().numpy() for a in (sums.degree, sums.first, sums.second))
    moments = [_moments(drawn, degree[:, w], first[:, w], second[:, w]) for w in range(len(weights))]
    if not histograms:
        return [Similarities(m) for m in moments]
    total, moved = np.zeros((len(weights), BINS)), np.zeros((len(weights), count, BINS))
    for rows, found in row_histograms(data, weights):
        part = found.permute(1, 0, 2).cpu().numpy()
        total += part.sum(1)
        moved += (drawn[:, rows] - 1.0) @ part
    # Half of the sum over ordered pairs, and the whole of what an image changes.
    return [Similarities(m, np.maximum(total[w] / 2 + moved[w], 0.0)) for w, m in enumerate(moments)]


def percentiles(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Ends of the percentile interval of ``(R,)``; infinite values count as large, NaN where nothing is defined."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return float(low), float(high)


def _drawn(data: Embedded, count: int, generator: np.random.Generator, patients: np.ndarray | None) -> np.ndarray:
    """How often each image is drawn, ``(R, N)`` int16."""
    codes = cluster_codes(patients, len(data))
    return np.concatenate([part.astype(np.int16) for part in resampled_weights(codes, count, generator)])


def _moments(drawn: np.ndarray, degree: np.ndarray, first: np.ndarray, second: np.ndarray) -> Moments:
    total = degree.sum() / 2
    if total <= 0:
        nothing = np.full(len(drawn), np.nan)
        return Moments(np.zeros(len(drawn)), nothing, nothing)
    mean, square = first.sum() / 2 / total, second.sum() / 2 / total
    # Derivatives of the two quotients by the weight of an image.
    change = np.stack([first - mean * degree, second - square * degree], 1) / total
    moved = np.concatenate([(part - 1.0) @ change for part in np.array_split(drawn, max(1, len(drawn) // _ROWS))])
    means, squares = mean + moved[:, 0], square + moved[:, 1]
    return Moments(np.full(len(drawn), total), means, spread(squares, means))
