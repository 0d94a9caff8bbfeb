"""Precision, recall, density and coverage of a synthetic set, from nearest neighbours.

Source: Kynkäänniemi et al. 2019, arXiv 1904.06991; Naeem et al. 2020, arXiv 2002.09797. Rows are brought to length 1,
so that Euclidean neighbours are neighbours by cosine similarity.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ELEMENTS = 1 << 22
_ROUNDING = 1e-6
"""Similarities in single precision that differ by less are the same."""


def manifold(
    real: Tensor, synthetic: Tensor, real_radius: Tensor, synthetic_radius: Tensor, k: int
) -> dict[str, float]:
    """Four shares that tell fidelity from diversity.

    Args:
        real: unit rows ``(N, D)``.
        synthetic: unit rows ``(M, D)``.
        real_radius: similarity of every real row to its k-th nearest other real row ``(N,)``.
        synthetic_radius: the same among synthetic rows ``(M,)``.
        k: neighbours that the radii reach to.

    Returns:
        ``precision``, the share of synthetic images inside the ball of a real one; ``recall``, of real images inside
        the ball of a synthetic one; ``density``, real balls that a synthetic image lies in, over k (1 where the sets
        are alike, no upper end); ``coverage``, the share of real images whose ball holds a synthetic one.
    """
    inside = torch.zeros(len(synthetic), dtype=torch.int64, device=real.device)
    covered = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    recalled = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    step = max(1, _ELEMENTS // max(1, len(synthetic)))
    for start in range(0, len(real), step):
        rows = slice(start, min(start + step, len(real)))
        found = real[rows] @ synthetic.T + _ROUNDING
        within = found >= real_radius[rows, None]
        inside += within.sum(0)
        covered[rows] = within.any(1)
        recalled[rows] = (found >= synthetic_radius).any(1)
    return {
        "precision": float((inside > 0).double().mean()),
        "recall": float(recalled.double().mean()),
        "density": float(inside.double().mean() / k),
        "coverage": float(covered.double().mean()),
    }
