"""Kernel distance of two sets of embeddings: KID on any encoder.

Source: Bińkowski et al. 2018, arXiv 1801.01401.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SUBSET = 1000
SUBSETS = 50


def kernel_distance(
    real: Tensor, synthetic: Tensor, generator: np.random.Generator, subset: int = SUBSET, subsets: int = SUBSETS
) -> dict[str, float]:
    """Unbiased squared maximum mean discrepancy with the kernel ``(x . y / D + 1)^3``; about 0 for equal sets.

    Args:
        real: ``(N, D)``, not scaled.
        synthetic: ``(M, D)``.
        generator: draws the subsets.
        subset: images of a subset; where both sets are no larger, all images are taken once.
        subsets: how many.

    Returns:
        ``mean`` over the subsets and its ``sd`` between them (NaN where all images were taken).
    """
    one, two = real.double(), synthetic.double()
    if max(len(one), len(two)) <= subset:
        return {"mean": _discrepancy(one, two), "sd": float("nan")}
    found = []
    for _ in range(subsets):
        a, b = (x[torch.from_numpy(generator.permutation(len(x))[:subset]).to(x.device)] for x in (one, two))
        found.append(_discrepancy(a, b))
    return {"mean": float(np.mean(found)), "sd": float(np.std(found))}


def _discrepancy(one: Tensor, two: Tensor) -> float:
    n, m = len(one), len(two)
    if min(n, m) < 2:
        return float("nan")
    within, against, across = _kernel(one, one), _kernel(two, two), _kernel(one, two)
    own = (within.sum() - within.trace()) / (n * (n - 1)) + (against.sum() - against.trace()) / (m * (m - 1))
    return float(own - 2 * across.mean())


def _kernel(one: Tensor, two: Tensor) -> Tensor:
    return (one @ two.T / one.shape[1] + 1) ** 3
