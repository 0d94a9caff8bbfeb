"""Sample weights: one vector, or one row for each bootstrap replicate; and the few sums that every metric is made of.

A weight of 3 counts a sample three times, a weight of 0 leaves it out: with whole weights every metric of this package
equals the unweighted metric of the repeated rows. Inside, weights lie sample by sample, ``(N, R)``, so that sorting and
cumulative sums touch R replicates at once.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from scantling.core.errors import DataError


def by_sample(weights: np.ndarray | None, n: int) -> np.ndarray:
    """Weights as ``(N, R)`` float64, samples first; ``None`` is one replicate of ones.

    Args:
        weights: ``(N,)``, ``(R, N)`` or None; zero or more.
        n: number of samples.

    Raises:
        DataError: the shape does not fit ``n`` samples.
    """
    if weights is None:
        return np.ones((n, 1))
    weights = np.asarray(weights, dtype=np.float64)
    if weights.ndim not in (1, 2) or weights.shape[-1] != n:
        raise DataError(f"weights of shape {weights.shape} for {n} samples", do=f"give ({n},) or (replicates, {n})")
    return np.ascontiguousarray(np.atleast_2d(weights).T)


def as_given(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Drop the leading replicate axis of ``values (R, ...)`` unless ``weights`` had one."""
    return values if weights is not None and np.ndim(weights) == 2 else values[0]


def take(weights: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    """The weights of some samples; ``rows`` is a boolean ``(N,)`` or an index. Keeps the memory layout."""
    return None if weights is None else np.asarray(weights).T[rows].T


def group_sums(codes: np.ndarray, num_groups: int, columns: np.ndarray) -> np.ndarray:
    """Sums of ``columns (N, R)`` over samples of the same code: ``(R, num_groups)``.

    >>> group_sums(np.array([0, 2, 2]), 3, np.array([[1.0], [2.0], [4.0]]))
    array([[1., 0., 6.]])
    """
    n = len(codes)
    membership = sparse.csr_array((np.ones(n), (codes, np.arange(n))), shape=(num_groups, n))
    return np.asarray(membership @ columns).T


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """``numerator / denominator``, NaN where the denominator is zero."""
    numerator, denominator = np.broadcast_arrays(
        np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    )
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0)


def mean_of_defined(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean over the values that are not NaN; NaN where there is none.

    >>> mean_of_defined(np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan]]))
    array([ 2., nan])
    """
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis), defined.sum(axis))
