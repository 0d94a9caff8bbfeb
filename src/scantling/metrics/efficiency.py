"""What a score is worth once its cost is counted: parameters that learn, memory that training takes.

Source: Huang et al. 2024, arXiv 2408.02426. A base-10 logarithm inside a natural exponential, as published.
"""

from __future__ import annotations

import math

from scantling.core.errors import DataError


def ppe(score: float, share: float) -> float:
    """Performance-parameter efficiency: ``score * exp(-log10(1 + share))``.

    Args:
        score: a figure where more is better, such as an AUC in percent.
        share: learnable of all parameters, in [0, 1].

    Raises:
        DataError: a share below 0, or one that is not finite.

    >>> round(ppe(87.12, 0.010266), 2), ppe(87.12, 0.0)
    (86.73, 87.12)
    """
    return _discounted(score, share)


def pme(score: float, memory_share: float) -> float:
    """Performance-memory efficiency: ``score * exp(-log10(1 + memory_share))``.

    Args:
        score: a figure where more is better, such as an AUC in percent.
        memory_share: memory of training over that of full fine-tuning, 0 or more.

    Raises:
        DataError: a share below 0, or one that is not finite.

    >>> round(pme(87.12, 736 / 23128), 2)
    85.94
    """
    return _discounted(score, memory_share)


def _discounted(score: float, share: float) -> float:
    if not 0.0 <= share < math.inf:
        raise DataError(f"a share of {share:g}", where="efficiency", do="give a fraction, 0 or more")
    return score * math.exp(-math.log10(1.0 + share))
