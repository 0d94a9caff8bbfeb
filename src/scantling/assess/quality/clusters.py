"""Two groups of rows: k-means with restarts, the best cut of a line, and how far apart the groups are."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MOST_COMPARED = 2000
"""Rows whose distances from each other are computed at once, at most."""


class TwoGroups(NamedTuple):
    """Two groups.

    Args:
        centres: ``(2, d)`` float64.
        group: 0 or 1 of every row, ``(n,)`` int64.
        inertia: sum of squared distances from the centres.
    """

    centres: Tensor
    group: Tensor
    inertia: float


def two_means(rows: Tensor, seed: int = 0, restarts: int = 10, steps: int = 100) -> TwoGroups:
    """K-means with k = 2: the best of several beginnings, all of them at once.

    Of a beginning the first centre is any row, the second one is drawn by its squared distance from the first.

    Args:
        rows: ``(n, d)``, from one row on.
        seed: of the beginnings.
        restarts: how many.
        steps: at most.

    Source: Arthur and Vassilvitskii 2007 (k-means++).

    >>> found = two_means(torch.tensor([[0.0], [0.0], [4.0], [4.0]]))
    >>> sorted(found.centres.flatten().tolist()), found.inertia
    ([0.0, 4.0], 0.0)
    """
    rows = rows.double()
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(len(rows), (restarts,), generator=generator).to(rows.device)
    apart = torch.cdist(rows[first], rows).square()
    # Where all rows are the same, any will do.
    chances = torch.where(apart.sum(1, keepdim=True) > 0, apart, torch.ones_like(apart))
    second = torch.multinomial(chances.cpu(), 1, generator=generator)[:, 0].to(rows.device)
    centres = torch.stack([rows[first], rows[second]], 1)
    group = torch.zeros(restarts, len(rows), dtype=torch.int64, device=rows.device)
    for _ in range(steps):
        distance = (rows[None, :, None] - centres[:, None]).square().sum(3)
        nearest = distance.argmin(2)
        member = torch.nn.functional.one_hot(nearest, 2).double()
        counts = member.sum(1)[..., None]
        means = torch.einsum("rnk,nd->rkd", member, rows) / counts.clamp(min=1)
        moved = torch.where(counts > 0, means, centres)
        if torch.equal(nearest, group) and torch.equal(moved, centres):
            break
        group, centres = nearest, moved
    inertia = (rows[None, :, None] - centres[:, None]).square().sum(3).amin(2).sum(1)
    best = int(inertia.argmin())
    return TwoGroups(centres[best], group[best], float(inertia[best]))


def best_cut(values: Tensor) -> float:
    """The cut of a line that parts values ``(n,)`` into two groups with the least sum of squares; exact.

    Half-way between the groups; values above it belong to the upper one.

    >>> best_cut(torch.tensor([0.0, 1.0, 9.0, 10.0]))
    5.0
    """
    values = values.double().sort().values
    count = len(values)
    if count < 2:
        return float(values[0])
    left = torch.arange(1, count, dtype=torch.float64, device=values.device)
    total = values.cumsum(0)
    # The sum of squares within is the least where that between is the greatest.
    gap = total[:-1] / left - (total[-1] - total[:-1]) / (count - left)
    at = int((left * (count - left) * gap.square()).argmax())
    return float((values[at] + values[at + 1]) / 2)


def silhouette(rows: Tensor, group: Tensor) -> float:
    """Mean silhouette of two groups, in [-1, 1]; 0 where there is one group only.

    Of many rows an evenly spaced part is taken.

    Source: Rousseeuw 1987, J. Comput. Appl. Math. 20.
    """
    if len(rows) > MOST_COMPARED:
        chosen = torch.linspace(0, len(rows) - 1, MOST_COMPARED, device=rows.device).long()
        rows, group = rows[chosen], group[chosen]
    member = torch.nn.functional.one_hot(group, 2).double()
    counts = member.sum(0)
    if bool((counts == 0).any()):
        return 0.0
    totals = torch.cdist(rows.double(), rows.double(), compute_mode="donot_use_mm_for_euclid_dist") @ member
    own, other = totals.gather(1, group[:, None])[:, 0], totals.gather(1, 1 - group[:, None])[:, 0]
    within = own / (counts[group] - 1).clamp(min=1)
    between = other / counts[1 - group]
    value = (between - within) / torch.maximum(between, within).clamp(min=1e-300)
    return float(torch.where(counts[group] > 1, value, torch.zeros_like(value)).mean())
