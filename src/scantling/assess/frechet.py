"""Fréchet distance of two sets of embeddings, as if both were Gaussian: FID on any encoder.

Source: Heusel et al. 2017, arXiv 1706.08500.
"""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(real: Tensor, synthetic: Tensor) -> float:
    """``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))``, at least 0.

    It is too high for few images: with fewer images than numbers of an embedding compare sets of the same size only.

    Args:
        real: ``(N, D)``, not scaled.
        synthetic: ``(M, D)``.

    Returns:
        The distance in squared units of the embeddings; NaN for a set of a single image.
    """
    if min(len(real), len(synthetic)) < 2:
        return float("nan")
    (mean, covariance), (other, against) = (_gaussian(rows.double()) for rows in (real, synthetic))
    root = _root(covariance)
    cross = torch.linalg.eigvalsh(root @ against @ root).clamp(min=0).sqrt().sum()
    found = ((mean - other) ** 2).sum() + covariance.trace() + against.trace() - 2 * cross
    return max(float(found), 0.0)


def _gaussian(rows: Tensor) -> tuple[Tensor, Tensor]:
    mean = rows.mean(0)
    return mean, (rows - mean).T @ (rows - mean) / (len(rows) - 1)


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
