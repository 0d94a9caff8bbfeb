"""The debiased Sinkhorn divergence of point clouds on the unit sphere, in the log domain, batched over pairs.

Source: Feydy et al. 2019, "Interpolating between Optimal Transport and MMD using Sinkhorn Divergences", arXiv
1810.08278 (annealed regularisation, debiasing). AADG (Lyu et al. 2022) measures with it how far domains lie apart.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

LARGEST_COST = 2.0
"""Of two opposite directions."""

STEPS = 3
"""Updates at every regularisation. One is too few: clouds in few dimensions are then wrong by a tenth."""


def cosine_cost(x: Tensor, y: Tensor) -> Tensor:
    """``1 - x.y / (|x| |y|)`` of all pairs, ``(..., n, m)`` in [0, 2], from ``(..., n, d)`` and ``(..., m, d)``."""
    return 1 - F.normalize(x, dim=-1) @ F.normalize(y, dim=-1).mT


def sinkhorn_divergence(x: Tensor, y: Tensor, blur: float = 0.05) -> Tensor:
    """How far two clouds of directions lie apart: ``OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2``.

    Args:
        x: ``(..., n, d)`` float; the lengths of its vectors do not matter.
        y: ``(..., m, d)`` float, with the same leading dimensions.
        blur: square root of the regularisation, see :func:`transport`.

    Returns:
        ``(...,)`` float32 in about [0, 2]: 0 for equal clouds, 2 for two opposite points.

    >>> import torch
    >>> x = torch.tensor([[1.0, 0.0]])
    >>> sinkhorn_divergence(x, 5 * x), sinkhorn_divergence(x, -x)
    (tensor(0.), tensor(2.))
    """
    x, y = x.float(), y.float()
    cross, own_x, own_y = (transport(cosine_cost(a, b), blur) for a, b in ((x, y), (x, x), (y, y)))
    return cross - (own_x + own_y) / 2


def transport(cost: Tensor, blur: float = 0.05) -> Tensor:
    """Cost of moving one cloud to another, all points of equal weight, regularised by ``epsilon = blur ** 2``.

    The regularisation begins at the largest possible cost and halves until it is reached, with :data:`STEPS` updates of
    both potentials at every value. As ``blur`` goes to 0 the result becomes the exact cost of the best assignment.

    Args:
        cost: of all pairs, ``(..., n, m)`` in [0, 2].
        blur: square root of the last regularisation, above 0.

    Returns:
        ``(...,)``.
    """
    log_rows, log_columns = -math.log(cost.shape[-2]), -math.log(cost.shape[-1])
    f, g = cost.new_zeros(cost.shape[:-1]), cost.new_zeros(cost.mT.shape[:-1])
    for epsilon in annealing(blur):
        for _ in range(STEPS):
            f = soften(cost, g, log_columns, epsilon)
            g = soften(cost.mT, f, log_rows, epsilon)
    return f.mean(-1) + g.mean(-1)


def soften(cost: Tensor, potential: Tensor, log_weight: float, epsilon: float) -> Tensor:
    """The soft minimum over the last dimension: ``-epsilon log sum_j w_j exp((potential_j - cost_ij) / epsilon)``."""
    return -epsilon * (log_weight + (potential.unsqueeze(-2) - cost) / epsilon).logsumexp(-1)


def annealing(blur: float) -> list[float]:
    """Regularisations from the largest cost down to ``blur ** 2``, each half of the one before.

    >>> annealing(0.6)
    [2.0, 1.0, 0.5, 0.36]
    """
    last = blur**2
    halvings = max(0, math.ceil(math.log2(LARGEST_COST / last)))
    return [*(LARGEST_COST / 2**i for i in range(halvings)), last]
