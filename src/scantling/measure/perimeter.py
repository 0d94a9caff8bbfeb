"""Circumference of an ellipse: exact, Ramanujan's approximations, and the clinical rule of two diameters."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ellipe

from scantling.core.errors import DataError, nearest

Formula = Literal["exact", "ramanujan_1", "ramanujan_2", "two_diameters"]
FORMULAS: tuple[str, ...] = get_args(Formula)


def circumference(a: ArrayLike, b: ArrayLike, formula: Formula = "exact") -> np.ndarray:
    """Circumference of ellipses with semi-axes ``a`` and ``b``, in their unit.

    Args:
        a: semi-axes of any shape, 0 or more; NaN gives NaN.
        b: the other semi-axes, any shape that broadcasts; which of both is longer does not matter.
        formula: ``exact`` is ``4 a E(m)`` with ``m = 1 - (b / a)^2`` and E the complete elliptic integral of the
            second kind. ``ramanujan_1`` and ``ramanujan_2`` approximate it, to 3e-6 and 1e-9 for ratios from 0.5 on.
            ``two_diameters`` is the clinical rule ``pi (d1 + d2) / 2``, which lies below the exact value: by 0.14 % at
            a ratio of 0.86, by 0.38 % at 0.78, by 0.77 % at 0.70.

    Raises:
        DataError: an unknown formula, or a negative semi-axis.

    >>> circumference(60.0, 46.8, "exact").round(2), circumference(60.0, 46.8, "two_diameters").round(2)
    (np.float64(336.8), np.float64(335.52))
    """
    first, second = np.broadcast_arrays(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64))
    if (first < 0).any() or (second < 0).any():
        raise DataError("a negative semi-axis", do="give semi-axes of 0 or more")
    long, short = np.maximum(first, second), np.minimum(first, second)
    total = long + short
    if formula == "two_diameters":
        return np.asarray(np.pi * total)
    with np.errstate(divide="ignore", invalid="ignore"):
        if formula == "exact":
            found = 4 * long * ellipe((1 - short / long) * (1 + short / long))
        elif formula == "ramanujan_1":
            found = np.pi * (3 * total - np.sqrt((3 * long + short) * (long + 3 * short)))
        elif formula == "ramanujan_2":
            h = ((long - short) / total) ** 2
            found = np.pi * total * (1 + 3 * h / (10 + np.sqrt(4 - 3 * h)))
        else:
            raise DataError(
                f"unknown formula '{formula}'{nearest(formula, FORMULAS)}", do=f"use one of {', '.join(FORMULAS)}"
            )
    return np.where(total == 0, 0.0, found)[()]
