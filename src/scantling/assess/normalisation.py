"""From a distance to a score in (0, 1]: 1 where the two distributions are the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from scantling.core.errors import RecipeError


def exponential(distance: Any, beta: float = 1.0) -> Any:
    """``gamma = exp(-beta d)``; 0 for an infinite distance, NaN for an undefined one.

    Raises:
        RecipeError: ``beta`` is not above 0.

    >>> round(float(exponential(3.2)), 4), float(exponential(0.0))
    (0.0408, 1.0)
    """
    if not beta > 0:
        raise RecipeError(f"beta {beta:g}", where="beta", do="use a number above 0")
    return np.exp(-beta * np.asarray(distance, dtype=np.float64))


def calibrated(distance: Any, floor: float, scale: float) -> Any:
    """``gamma = exp(-(d - d0) / tau)``, 1 at the floor ``d0`` and below it; NaN without a scale.

    Args:
        distance: d.
        floor: d0, the distance between two halves of the real set.
        scale: tau, above 0; from :func:`scale_of`.
    """
    return np.exp(-np.maximum(np.asarray(distance, dtype=np.float64) - floor, 0.0) / scale)


def scale_of(floor: float, collapsed: float) -> float:
    """The scale tau at which a stated collapse scores 0.5; NaN where it is no further away than the floor.

    >>> round(float(calibrated(0.9, 0.1, scale_of(0.1, 0.9))), 6)
    0.5
    """
    return (collapsed - floor) / float(np.log(2)) if collapsed > floor else float("nan")
