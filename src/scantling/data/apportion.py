"""Divide groups between parts so that every part has its share of the whole and of each class."""

from __future__ import annotations

import numpy as np

_ROUNDS = 300
_SWAPPED = 256
"""Groups among which exchanges are looked for at a time."""


def apportion(size: np.ndarray, content: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Part of every group.

    Three steps. Groups with the same content are interchangeable: each part first gets the whole number of them that
    its share is worth. The rest, the largest first, go where the classes lack most, among the parts with room. At last
    groups are moved and exchanged while that lowers the chi-square distance between class counts and shares; a part's
    size may then leave its quota by less than a median group.

    Args:
        size: rows of each group, ``(G,)``.
        content: rows of each class (or positives of each finding) in each group, ``(G, K)``.
        shares: of the parts, ``(P,)``, adding up to 1; a part with share 0 stays empty.
        rng: decides between groups that are alike.

    Returns:
        ``(G,)`` int64 in 0 ... P-1.

    >>> apportion(np.ones(10), np.ones((10, 1)), np.array([0.7, 0.1, 0.2]), np.random.default_rng(0)).tolist()
    [1, 2, 0, 0, 0, 0, 0, 0, 2, 0]
    """
    used = np.flatnonzero(shares > 0)
    shares, content = shares[used], content[:, content.sum(axis=0) > 0].astype(float)
    part = _whole_numbers(np.column_stack([size, content]), shares, rng)
    quota = _quota(float(size.sum()), shares)
    want = shares[:, None] * content.sum(axis=0)
    _place_rest(part, size, content, quota, want, rng)
    _refine(part, size, content, quota, want, rng)
    return used[part]


def _whole_numbers(kinds: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Part of every group ``(G,)``; -1 for those left over when each kind is divided in whole numbers."""
    _, kind, count = np.unique(kinds, axis=0, return_inverse=True, return_counts=True)
    kind = kind.ravel()
    shuffled = rng.permutation(len(kind))
    order = shuffled[np.argsort(kind[shuffled], kind="stable")]
    rank = np.empty(len(kind), dtype=np.int64)
    rank[order] = np.arange(len(kind)) - np.repeat(np.cumsum(count) - count, count)
    ends = np.cumsum(np.floor(count[:, None] * shares + 1e-9), axis=1)
    part = (rank[:, None] >= ends[kind]).sum(axis=1)
    return np.where(part < len(shares), part, -1)


def _quota(total: float, shares: np.ndarray) -> np.ndarray:
    """Rows of each part ``(P,)``, whole numbers that add up to the total, by largest remainder."""
    quota = np.floor(total * shares + 1e-9)
    rest = np.argsort(quota - total * shares, kind="stable")[: round(total - quota.sum())]
    quota[rest] += 1
    return quota


def _place_rest(
    part: np.ndarray,
    size: np.ndarray,
    content: np.ndarray,
    quota: np.ndarray,
    want: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Give a part to every group that has none (-1), in place."""
    pending = rng.permutation(np.flatnonzero(part < 0))
    pending = pending[np.argsort(-size[pending], kind="stable")]
    filled, have = _totals(part, size, content, len(quota))
    for group in pending:
        room = filled + size[group] <= quota
        if not room.any():
            room = (quota - filled) == (quota - filled).max()
        need = (((want - have) / want.sum(axis=0)) * content[group]).sum(axis=1)
        choice = np.lexsort((filled - quota, -np.round(need, 9), ~room))[0]
        part[group] = choice
        filled[choice] += size[group]
        have[choice] += content[group]


def _refine(
    part: np.ndarray,
    size: np.ndarray,
    content: np.ndarray,
    quota: np.ndarray,
    want: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Move and exchange groups, the best step first, while the chi-square distance falls; in place."""
    weight, slack = 1 / want, max(float(np.median(size)) - 1, 0.0)
    everyone, squares = np.arange(len(part)), content**2 @ weight.T
    filled, have = _totals(part, size, content, len(quota))
    for _ in range(_ROUNDS):
        over = filled - quota
        limit = np.maximum(np.abs(over), slack)
        slope = 2 * content @ ((have - want) * weight).T
        change = squares + slope + (squares - slope)[everyone, part][:, None]
        fits = np.abs(over + size[:, None]) <= limit
        fits &= (np.abs(over[part] - size) <= limit[part])[:, None] & (part[:, None] != np.arange(len(quota)))
        step = np.where(fits, change, np.inf)
        group, goal = np.unravel_index(int(step.argmin()), step.shape)
        moves = [(int(group), int(goal))]
        if step[group, goal] > -1e-9:
            some = everyone if len(part) <= _SWAPPED else rng.choice(everyone, _SWAPPED, replace=False)
            moves = _best_exchange(some, part, size, content, change, weight, over, limit)
        if not moves:
            return
        for mover, destination in moves:
            for total, amount in ((filled, size), (have, content)):
                total[part[mover]] -= amount[mover]
                total[destination] += amount[mover]
            part[mover] = destination


def _best_exchange(
    some: np.ndarray, part: np.ndarray, size: np.ndarray, content: np.ndarray, change: np.ndarray, weight: np.ndarray,
    over: np.ndarray, limit: np.ndarray,
) -> list[tuple[int, int]]:  # fmt: skip
    """The exchange of two of ``some`` groups that lowers the distance most, as two moves; empty when none does."""
    mine, inside, rows = part[some], content[some], size[some]
    both = (inside * weight[mine]) @ inside.T
    gain = change[some][:, mine]
    gain = gain + gain.T - 2 * (both + both.T)
    growth = rows[None, :] - rows[:, None]
    fits = (mine[:, None] != mine) & (np.abs(over[mine][:, None] + growth) <= limit[mine][:, None])
    fits &= np.abs(over[mine] - growth) <= limit[mine]
    gain = np.where(fits, gain, np.inf)
    first, second = np.unravel_index(int(gain.argmin()), gain.shape)
    if gain[first, second] > -1e-9:
        return []
    return [(int(some[first]), int(mine[second])), (int(some[second]), int(mine[first]))]


def _totals(part: np.ndarray, size: np.ndarray, content: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows ``(P,)`` and class counts ``(P, K)`` of the parts."""
    filled = np.array([size[part == p].sum() for p in range(parts)], dtype=float)
    return filled, np.stack([content[part == p].sum(axis=0) for p in range(parts)])
