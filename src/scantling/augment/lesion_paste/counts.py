"""How many lesions of which types an image gets."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from scantling.core.errors import RecipeError

SEVERITY = (95, 90, 80)
"""Thresholds of the severity: above the first of 0 ... 100 come four types, above the second three, then two."""


def check_severity(thresholds: Sequence[int], types: int) -> None:
    """Refuse thresholds that do not fall, or too few for so many types.

    Raises:
        RecipeError: with what to give.
    """
    falling = all(a > b for a, b in itertools.pairwise(thresholds))
    if not falling or not all(0 <= t <= 100 for t in thresholds):
        raise RecipeError(
            f"severity {list(thresholds)} does not fall inside 0 to 100", where="synthesizer", do="as [95, 90, 80]"
        )
    if types > len(thresholds) + 1:
        raise RecipeError(
            f"{len(thresholds)} thresholds for {types} types of lesions",
            where="synthesizer.severity",
            do=f"give {types - 1}",
        )


def number_of_types(draws: np.ndarray, types: int, thresholds: Sequence[int] = SEVERITY) -> np.ndarray:
    """How many types, the first ones in their order, every image gets.

    A severity from 0 to 100, all 101 equally likely, brings one type more with each threshold that it passes. So with
    the default four of five images have lesions of the first type alone, as in early disease.

    Args:
        draws: uniform in [0, 1), ``(B,)``.
        types: how many there are; the highest thresholds of longer lists do not count.
        thresholds: falling, in 0 to 100.

    Returns:
        ``(B,)`` int64 from 1 to ``types``.

    Source: Huang et al. 2022, arXiv 2203.06354, released code.
    """
    severity = np.floor(np.asarray(draws) * 101)
    passed = (severity[:, None] > np.asarray(sorted(thresholds)[: types - 1])).sum(1)
    types_given: np.ndarray = 1 + passed.astype(np.int64)
    return types_given


def count_range(in_donor: int, fewest: int, most: float = 1.5) -> tuple[int, int]:
    """Fewest and most lesions of a type: from ``fewest`` to ``floor(most * in_donor)``, both at least 1.

    A donor with few lesions lowers the fewest, so that the range is never empty.

    >>> count_range(10, 3), count_range(1, 3)
    ((3, 15), (1, 1))
    """
    high = max(1, int(most * in_donor))
    return min(fewest, high), high


def draw_counts(
    draws: np.ndarray,
    in_donor: Sequence[int],
    thresholds: Sequence[int] = SEVERITY,
    fewest: Sequence[int] = (3, 1),
    most: float = 1.5,
) -> np.ndarray:
    """How many lesions of each type every image gets.

    Args:
        draws: uniform in [0, 1), ``(B, 1 + T)``: the severity, then one count a type.
        in_donor: lesions of each of the T types in the bank.
        thresholds: see :func:`number_of_types`.
        fewest: of the first type, of the second, and so on; the last one holds for all further ones.
        most: of each type, as a multiple of those in the bank.

    Returns:
        ``(B, T)`` int64, 0 for types that the severity leaves out.
    """
    types = len(in_donor)
    ranges = [count_range(n, fewest[min(k, len(fewest) - 1)], most) for k, n in enumerate(in_donor)]
    low, high = np.array(ranges).T
    counts: np.ndarray = low + np.floor(draws[:, 1 : 1 + types] * (high - low + 1)).astype(np.int64)
    counts[np.arange(types) >= number_of_types(draws[:, 0], types, thresholds)[:, None]] = 0
    return counts
