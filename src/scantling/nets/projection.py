"""Heads of contrastive learning: from a network's features to the unit sphere."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Projection(nn.Module):
    """Unit vectors of two views: a projector for both and, where wanted, a predictor behind it for the first view.

    Layers are linear without bias, each followed by batch normalisation and ReLU; the last one of the projector by
    batch normalisation without scale and shift, the last one of the predictor by nothing.

    Args:
        features: width of the network's features.
        size: of the unit vectors.
        hidden: width of the layers between.
        layers: of the projector, from 1.
        predictor: put a predictor of two layers behind the first view.

    Source: the released code of SPMix (Wei et al. 2024, arXiv 2406.10801), which takes its heads from GPaCo.
    """

    def __init__(
        self, features: int, size: int = 256, hidden: int = 4096, layers: int = 3, predictor: bool = True
    ) -> None:
        super().__init__()
        self.size = size
        widths = [features, *[hidden] * (layers - 1)]
        steps = [step for a, b in pairwise(widths) for step in _layer(a, b)]
        last = [nn.Linear(widths[-1], size, bias=False), nn.BatchNorm1d(size, affine=False)]
        self.projector = nn.Sequential(*steps, *last)
        self.predictor: nn.Module | None = None
        if predictor:
            self.predictor = nn.Sequential(*_layer(size, hidden), nn.Linear(hidden, size, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        """Unit vectors ``(2B, size)`` of features ``(2B, F)``, those of the first view before those of the second."""
        projected = self.projector(features)
        if self.predictor is not None:
            first, second = projected.chunk(2)
            projected = torch.cat([self.predictor(first), second])
        return F.normalize(projected.float(), dim=1)


def _layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True)]
