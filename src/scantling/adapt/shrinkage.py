"""Covariances of few rows in many dimensions."""

from __future__ import annotations

import torch
from torch import Tensor


def ledoit_wolf(rows: Tensor) -> tuple[Tensor, float]:
    """The covariance ``(D, D)`` of ``rows (n, D)``, shrunk towards its mean variance, and by how much.

    The estimate is ``(1 - s) S + s m I`` with the covariance ``S`` (divided by n), its mean variance ``m``, and the
    ``s`` in [0, 1] that makes the expected squared error smallest.

    Source: Ledoit and Wolf 2004, J. Multivariate Anal. 88(2), eq. 14 and lemmas 3.2 to 3.4.

    >>> covariance, shrinkage = ledoit_wolf(torch.eye(3))
    >>> round(shrinkage, 6)
    1.0
    """
    rows = rows.double()
    count, width = rows.shape
    centred = rows - rows.mean(0)
    covariance = centred.mT @ centred / count
    level = covariance.diagonal().mean()
    # The mean over rows of |x x^T - S|^2, of which |x|^4 and |S|^2 are enough.
    spread = (centred.square().sum(1).square().mean() - covariance.square().sum()) / count
    distance = covariance.square().sum() - width * level.square()
    share = 0.0 if distance <= 0 and spread <= 0 else float((spread / distance.clamp(min=1e-300)).clamp(0, 1))
    identity = torch.eye(width, dtype=rows.dtype, device=rows.device)
    return (1 - share) * covariance + share * level * identity, share
