"""Percentile intervals by the bootstrap, drawing patients and not images where patients are known.

Images of one patient are alike: drawing them one by one would pretend to more evidence than there is.
Source: Efron 1979; the cluster bootstrap as in Field and Welsh 2007.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_BLOCK = 1 << 21
"""Weights held at once (16 MiB): large enough to share the sorting, small enough for a laptop."""


@dataclass(frozen=True)
class Interval:
    """A value with its percentile interval, of any shape S.

    Args:
        value: on the data themselves, S.
        low: lower end, S; NaN where no replicate is defined.
        high: upper end, S.
        replicates_used: replicates in which the value was defined, S.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    replicates_used: np.ndarray

    def to_json(self, *at: int) -> dict[str, Any]:
        """Plain numbers of the entry ``at``; None where undefined."""
        return {
            "value": plain(self.value[at]),
            "low": plain(self.low[at]),
            "high": plain(self.high[at]),
            "replicates_used": int(self.replicates_used[at]),
        }


def plain(value: Any) -> float | None:
    """A float, or None where it is not finite.

    >>> plain(np.float64(0.5)), plain(np.nan)
    (0.5, None)
    """
    number = float(value)
    return number if np.isfinite(number) else None


def cluster_codes(groups: np.ndarray | None, n: int) -> np.ndarray:
    """Codes 0 ... G-1 ``(N,)`` of what is drawn as one: patients, or images where ``groups`` is None or negative."""
    if groups is None:
        return np.arange(n)
    groups = np.asarray(groups, dtype=np.int64)
    alone = groups < 0
    own = np.where(alone, groups.max(initial=0) + 1 + np.arange(n), groups)
    return np.unique(own, return_inverse=True)[1].reshape(-1)


def resampled_weights(
    codes: np.ndarray, replicates: int, generator: np.random.Generator, block: int = _BLOCK
) -> Iterator[np.ndarray]:
    """How often each sample is drawn in each replicate, in blocks of replicates.

    Args:
        codes: ``(N,)`` from :func:`cluster_codes`; a replicate draws as many clusters as there are, with replacement.
        replicates: how many in all.
        generator: source of the draws; the same draws whatever the block size.
        block: weights an array may hold.

    Yields:
        ``(R, N)`` float64 with whole values; the transpose of an array that is contiguous by sample.
    """
    num_clusters = int(codes.max(initial=-1)) + 1
    step = max(16, block // max(1, len(codes)))
    for start in range(0, replicates, step):
        size = min(step, replicates - start)
        drawn = generator.integers(0, num_clusters, (size, num_clusters))
        flat = (drawn * size + np.arange(size)[:, None]).ravel()
        counts = np.bincount(flat, minlength=num_clusters * size).reshape(num_clusters, size)
        yield counts.astype(np.float64)[codes].T


def bootstrap(
    statistic: Callable[[np.ndarray | None], Mapping[str, np.ndarray]],
    n: int,
    generator: np.random.Generator,
    groups: np.ndarray | None = None,
    replicates: int = 2000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Percentile intervals of several statistics over the same replicates.

    Args:
        statistic: gives named values of shape S for ``None`` (no weights), and ``(R, *S)`` for weights ``(R, N)``.
        n: number of samples.
        generator: source of the draws.
        groups: patient codes ``(N,)`` as ints, negative where not known; None draws images.
        replicates: number of draws; 0 gives values without intervals.
        level: coverage, in (0, 1).

    Returns:
        An :class:`Interval` a name. Replicates in which a value is undefined (NaN) are left out of it and counted. With
        fewer than two clusters there is nothing to draw from, and no interval.

    >>> mean = lambda w: {"mean": np.mean(data) if w is None else w @ data / w.sum(1)}
    >>> data = np.arange(100.0)
    >>> found = bootstrap(mean, 100, np.random.default_rng(0))["mean"]
    >>> bool(found.low < found.value < found.high)
    True
    """
    values = {name: np.asarray(value, dtype=np.float64) for name, value in statistic(None).items()}
    codes = cluster_codes(groups, n)
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in values}
    if codes.max(initial=-1) >= 1:
        for weights in resampled_weights(codes, replicates, generator):
            for name, replicate in statistic(weights).items():
                drawn[name].append(replicate)
    return {name: _interval(values[name], blocks, level) for name, blocks in drawn.items()}


def _interval(value: np.ndarray, blocks: list[np.ndarray], level: float) -> Interval:
    samples = np.concatenate(blocks) if blocks else np.full((1, *value.shape), np.nan)
    used = (~np.isnan(samples)).sum(0)
    tails = [(1 - level) / 2, (1 + level) / 2]
    filled = np.where(used > 0, samples, 0.0)
    low, high = np.where(used > 0, np.nanquantile(filled, tails, axis=0), np.nan)
    return Interval(value, low, high, used)
