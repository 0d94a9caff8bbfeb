"""Histograms of pairwise similarities, for distances and pictures that need more than two moments.

All pairs are looked at, in blocks: O(N^2 D) work and little memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scantling.assess.embedded import Embedded

BINS = 2048
"""Of equal width on [-1, 1]."""
MOST_GROUPS = 64
"""Up to so many groups the histogram of every two groups is kept."""
_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class PairHistograms:
    """Histograms of similarities.

    Args:
        pooled: ``(W, BINS)`` float64, over unordered pairs with the weights of their groups.
        own: of every group's own pairs, ``(K, BINS)``.
        between: of the pairs of every two groups, ``(K, K, BINS)``; None for many groups.
    """

    pooled: np.ndarray
    own: np.ndarray
    between: np.ndarray | None


def centres() -> np.ndarray:
    """Middles of the bins ``(BINS,)``."""
    return (np.arange(BINS) + 0.5) * (2.0 / BINS) - 1.0


def pair_histograms(data: Embedded, weights: np.ndarray) -> PairHistograms:
    """Histograms of the similarities of all pairs of a set, an image never with itself.

    Args:
        data: the set.
        weights: ``(W, K, K)`` symmetric, of the pairs of every two groups.
    """
    groups = data.num_groups
    pooled, own = np.zeros((len(weights), BINS)), np.zeros((groups, BINS))
    between = np.zeros((groups, groups, BINS)) if groups <= MOST_GROUPS else None
    order = torch.argsort(data.codes, stable=True)
    units = data.unit_matrix(order)
    codes = data.codes[order]
    ends = data.counts.cumsum(0).tolist()
    for code, end in enumerate(ends):
        start = ends[code - 1] if code else 0
        found = torch.zeros(groups * BINS, dtype=torch.int64, device=units.device)
        # Columns begin with the group itself: pairs with earlier groups were counted there.
        shift = codes[start:] * BINS
        for rows in _parts(start, end, len(units) - start):
            index = shift + bin_of(units[rows] @ units[start:].T)
            found += torch.bincount(index.flatten(), minlength=groups * BINS)
        # Each image met itself once, and every other one of its group twice.
        found[(code + 1) * BINS - 1] -= end - start
        counts = found.view(groups, BINS).double().cpu().numpy()
        counts[code] /= 2
        pooled += weights[:, code] @ counts
        own[code] = counts[code]
        if between is not None:
            between[code] += counts
            between[code + 1 :, code] += counts[code + 1 :]
    return PairHistograms(pooled, own, between)


def row_histograms(data: Embedded, weights: np.ndarray) -> Iterator[tuple[slice, Tensor]]:
    """Histograms of the pairs of every image, some images at a time.

    Yields:
        which rows, and ``(b, W, BINS)`` float64.
    """
    given = torch.from_numpy(np.ascontiguousarray(weights)).to(data.features.device, torch.float64)
    units = data.unit_matrix()
    step = max(1, _ELEMENTS // max(len(data), 1))
    for rows in data.blocks(step):
        size = rows.stop - rows.start
        index = bin_of(units[rows] @ units.T) + torch.arange(size, device=units.device)[:, None] * BINS
        own = torch.arange(rows.start, rows.stop, device=units.device)
        out = []
        for weight in given:
            each = weight[data.codes[rows]][:, data.codes]
            each[torch.arange(size, device=units.device), own] = 0
            out.append(torch.bincount(index.flatten(), each.flatten(), minlength=size * BINS).view(size, BINS))
        yield rows, torch.stack(out, 1)


def bin_of(similarities: Tensor) -> Tensor:
    """Number of the bin of every similarity, int64."""
    return ((similarities + 1) * (BINS / 2)).long().clamp_(0, BINS - 1)


def _parts(start: int, end: int, columns: int) -> Iterator[slice]:
    step = max(1, _ELEMENTS // max(1, columns))
    for first in range(start, end, step):
        yield slice(first, min(first + step, end))
