"""Principal components."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Components:
    """A linear map to few dimensions.

    Args:
        mean: of the rows it was fitted to, ``(D,)`` float64.
        axes: orthonormal rows ``(d, D)`` float64, that of the greatest variance first.
    """

    mean: Tensor
    axes: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """Coordinates ``(n, d)`` of rows ``(n, D)``."""
        return (rows.to(self.mean) - self.mean) @ self.axes.mT


def fit_components(rows: Tensor, size: int) -> Components:
    """The first principal components of ``rows (n, D)``: at most ``size`` of them, and at most ``n - 1``.

    The sign of an axis is such that its largest entry is positive, so that the same rows give the same axes.

    >>> rows = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    >>> fit_components(rows, 1)(rows)[:, 0]
    tensor([-1.4142,  0.0000,  1.4142], dtype=torch.float64)
    """
    rows = rows.double()
    mean = rows.mean(0)
    _, _, axes = torch.linalg.svd(rows - mean, full_matrices=False)
    axes = axes[: max(1, min(size, len(rows) - 1))]
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return Components(mean, axes * torch.where(largest < 0, -1.0, 1.0))
