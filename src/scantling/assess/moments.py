"""Moments of all pairwise similarities, exact, without forming the pairs.

For unit rows ``z`` of two groups a and b, with sums ``s`` and Gram matrices ``G = Z'Z``,

    sum of z_i . z_j = s_a . s_b,        sum of (z_i . z_j)^2 = <G_a, G_b>,

so that means and variances of the similarities of N images in D dimensions cost O(N D^2) and not O(N^2 D).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scantling.assess.embedded import Embedded, pieces
from scantling.core.errors import DataError

_BUDGET = 1 << 25
"""Numbers of Gram matrices that are held at once: 256 MiB."""
_SIDE = 2048
_STRIP = 128
"""Rows of a Gram matrix at a time: narrower strips waste less on its lower half, wider ones use a processor better."""
RESOLUTION = 1e-13
"""A variance below this is rounding: similarities are then all the same."""


@dataclass(frozen=True)
class Moments:
    """How many pairs, and mean and variance of their similarities; arrays of one shape for several replicates.

    Args:
        count: unordered pairs.
        mean: in [-1, 1]; NaN without pairs.
        variance: population variance, at least 0; exactly 0 below 1e-13.
    """

    count: Any
    mean: Any
    variance: Any

    @property
    def sd(self) -> Any:
        """Standard deviation."""
        return np.sqrt(self.variance)


@dataclass(frozen=True)
class PairSums:
    """Sums over the pairs of every two groups, from which all moments follow.

    Each is ``(K, K)`` float64, over ordered pairs, an image never with itself.

    Args:
        pairs: how many.
        first: of the similarities.
        second: of their squares.
    """

    pairs: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def pooled(self, weight: np.ndarray) -> Moments:
        """Moments over all pairs, each with the weight ``(K, K)`` (symmetric, at least 0) of its two groups."""
        total = float((weight * self.pairs).sum())
        count = float(self.pairs[weight > 0].sum() / 2)
        if total <= 0:
            return Moments(0.0, float("nan"), float("nan"))
        mean = float((weight * self.first).sum() / total)
        return Moments(count, mean, float(spread((weight * self.second).sum() / total, mean)))

    def each(self) -> Moments:
        """Moments of every two groups ``(K, K)``; NaN where there are no pairs."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self.first / self.pairs
            variance = spread(self.second / self.pairs, mean)
        halves = np.where(np.eye(len(self.pairs), dtype=bool), 2.0, 1.0)
        return Moments(self.pairs / halves, mean, variance)


class PairAccumulator:
    """The same sums over a stream of batches; accumulators of several workers are added up.

    Holds K vectors and K matrices, ``K (D^2 + D + 1)`` numbers in double precision.

    Args:
        num_groups: K.
        num_features: D.
        device: where the sums are.
    """

    def __init__(self, num_groups: int, num_features: int, device: torch.device | str = "cpu") -> None:
        self.counts = torch.zeros(num_groups, dtype=torch.float64, device=device)
        self.sums = torch.zeros(num_groups, num_features, dtype=torch.float64, device=device)
        self.grams = torch.zeros(num_groups, num_features, num_features, dtype=torch.float64, device=device)

    def update(self, features: Tensor, codes: Tensor) -> PairAccumulator:
        """Add rows ``(B, D)`` with their groups ``(B,)``.

        Raises:
            DataError: other shapes, a group that does not exist, or rows without a direction.
        """
        accumulate(features, codes, self.counts, self.sums, self.grams)
        return self

    def merge(self, other: PairAccumulator) -> PairAccumulator:
        """Add what another worker saw."""
        self.counts += other.counts
        self.sums += other.sums
        self.grams += other.grams
        return self

    def pair_sums(self) -> PairSums:
        """The sums over all pairs of what was seen."""
        return sums_of(self.counts, self.sums, self.grams)


def accumulate(features: Tensor, codes: Tensor, counts: Tensor, sums: Tensor, grams: Tensor) -> None:
    """Add rows ``(B, D)`` to counts ``(K,)``, sums ``(K, D)`` and Gram matrices ``(K, D, D)``, in place.

    Raises:
        DataError: see :meth:`PairAccumulator.update`.
    """
    groups, width = sums.shape
    if features.ndim != 2 or features.shape[1] != width:
        raise DataError(f"embeddings of the shape {tuple(features.shape)}", do=f"give (B, {width})")
    if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < groups:
        raise DataError(f"labels from {int(codes.min())} to {int(codes.max())} of {groups} classes")
    data = Embedded(features, codes.long(), groups)
    for code, rows in enumerate(data.members()):
        for part in pieces(rows, width):
            units = data.units(part).to(sums)
            counts[code] += len(part)
            sums[code] += units.sum(0)
            _add_gram(grams[code], units, slice(None))


def sums_of(counts: Tensor, sums: Tensor, grams: Tensor) -> PairSums:
    """Sums over pairs from counts ``(K,)``, sums ``(K, D)`` and Gram matrices ``(K, D, D)``."""
    flat = grams.flatten(1)
    return _without_self(counts, sums @ sums.T, flat @ flat.T)


def pair_sums(data: Embedded) -> PairSums:
    """The sums over all pairs of a set.

    By Gram matrices, or, where that is more work (few images of many groups), pair by pair; both are exact. Of the
    Gram matrices only as many columns are held at once as fit into 256 MiB.
    """
    if _fewer_pairs(data):
        return _by_pairs(data)
    first = second = torch.zeros(data.num_groups, data.num_groups, dtype=torch.float64, device=data.features.device)
    for _, grams, sums in gram_slabs(data):
        flat = grams.flatten(1)
        first, second = sums @ sums.T, torch.addmm(second, flat, flat.T)
    return _without_self(data.counts.double(), first, second)


def gram_slabs(data: Embedded, held: int = 1) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows of the Gram matrices of all groups, some at a time.

    Args:
        data: the set.
        held: how many tensors of a slab's size the caller needs beside each other.

    Yields:
        which rows; ``(K, w, D)`` float64; and the sums of the groups ``(K, D)``, the same each time.
    """
    width = data.width
    step = max(1, min(width, _BUDGET // max(1, held * data.num_groups * width)))
    members = data.members()
    for start in range(0, width, step):
        slab = slice(start, min(start + step, width))
        shape = (data.num_groups, slab.stop - slab.start, width)
        grams = torch.zeros(shape, dtype=torch.float64, device=data.features.device)
        sums = torch.zeros(data.num_groups, width, dtype=torch.float64, device=data.features.device)
        for code, rows in enumerate(members):
            for part in pieces(rows, width):
                units = data.units(part)
                _add_gram(grams[code], units, slab)
                sums[code] += units.sum(0)
        yield slab, grams, sums


@dataclass(frozen=True)
class RowSums:
    """What every image's pairs sum to, under several weights: derivatives of pooled sums by an image's own weight.

    Each is ``(N, W)`` float64.

    Args:
        degree: sum of the weights of an image's pairs.
        first: of weight times similarity.
        second: of weight times its square.
    """

    degree: Tensor
    first: Tensor
    second: Tensor


def row_sums(data: Embedded, weights: np.ndarray) -> RowSums:
    """Sums over the pairs of every image.

    Args:
        data: the set.
        weights: ``(W, K, K)``, of the pairs of every two groups.
    """
    given = torch.from_numpy(np.ascontiguousarray(weights)).to(data.features.device, torch.float64)
    own = given.diagonal(dim1=1, dim2=2).T[data.codes]
    degree = (given @ data.counts.double()).T[data.codes] - own
    if _fewer_pairs(data):
        first, second = _rows_by_pairs(data, given)
    else:
        first, second = torch.zeros_like(own), torch.zeros_like(own)
        for slab, grams, sums in gram_slabs(data, 1 + len(given)):
            mixed, targets = torch.einsum("wab,bsd->wasd", given, grams), given @ sums
            for code, rows in enumerate(data.members()):
                for part in pieces(rows, data.width):
                    units = data.units(part)
                    for w in range(len(given)):
                        second[part, w] += ((units @ mixed[w, code].T) * units[:, slab]).sum(1)
                        if slab.start == 0:
                            first[part, w] = units @ targets[w, code]
    return RowSums(degree, first - own, second - own)


def spread(mean_square: Any, mean: Any) -> Any:
    """Variance from the mean square and the mean; 0 where there is nothing but rounding."""
    variance = np.asarray(mean_square) - np.asarray(mean) ** 2
    return np.where(variance < RESOLUTION, np.zeros_like(variance), variance)


def _add_gram(gram: Tensor, units: Tensor, slab: slice) -> None:
    """Add ``units[:, slab]' units`` in place; of a whole matrix, which is symmetric, half of it is computed."""
    if len(gram) < units.shape[1]:
        gram.addmm_(units[:, slab].T, units)
        return
    added = torch.empty_like(gram)
    for start in range(0, len(gram), _STRIP):
        end = min(start + _STRIP, len(gram))
        torch.mm(units[:, start:end].T, units[:, start:], out=added[start:end, start:])
        added[end:, start:end] = added[start:end, end:].T
    gram += added


def _fewer_pairs(data: Embedded) -> bool:
    """Whether pair by pair is less work than Gram matrices."""
    n, d, k = len(data), data.width, data.num_groups
    return n * n * (d + 4) < n * d * d + k * k * d * d


def _by_pairs(data: Embedded) -> PairSums:
    shape = (data.num_groups, data.num_groups)
    first, second = (torch.zeros(shape, dtype=torch.float64, device=data.features.device) for _ in range(2))
    for rows in data.blocks(_SIDE):
        left = data.units(rows)
        for columns in data.blocks(_SIDE):
            found = left @ data.units(columns).T
            for out, values in ((first, found), (second, found**2)):
                by_group = torch.zeros(len(left), data.num_groups, dtype=torch.float64, device=found.device)
                out.index_add_(0, data.codes[rows], by_group.index_add_(1, data.codes[columns], values))
    return _without_self(data.counts.double(), first, second)


def _rows_by_pairs(data: Embedded, weights: Tensor) -> tuple[Tensor, Tensor]:
    first = torch.zeros(len(data), len(weights), dtype=torch.float64, device=data.features.device)
    second = torch.zeros_like(first)
    for rows in data.blocks(_SIDE):
        left = data.units(rows)
        for columns in data.blocks(_SIDE):
            found = left @ data.units(columns).T
            for w, weight in enumerate(weights):
                each = weight[data.codes[rows]][:, data.codes[columns]]
                first[rows, w] += (each * found).sum(1)
                second[rows, w] += (each * found**2).sum(1)
    return first, second


def _without_self(counts: Tensor, first: Tensor, second: Tensor) -> PairSums:
    """A row's similarity with itself is 1."""
    alone = torch.diag(counts)
    arrays = (torch.outer(counts, counts) - alone, first - alone, second - alone)
    pairs, one, two = (a.cpu().numpy() for a in arrays)
    # Without pairs nothing is left but rounding.
    return PairSums(pairs, np.where(pairs > 0, one, 0.0), np.where(pairs > 0, two, 0.0))
