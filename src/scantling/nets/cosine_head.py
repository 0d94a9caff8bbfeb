"""A linear layer without lengths: its outputs are cosines."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CosineHead(nn.Module):
    """Cosine of the angle between features and the direction of each class, in [-1, 1]; there is no bias.

    A long-tailed training set makes the weights of common classes long. Here they have no length that could grow.

    Args:
        in_features: width of the features.
        out_features: classes.

    Source: Cao et al. 2019, arXiv 1906.07413, appendix B (last layer of LDAM, after Wang et al. 2018).

    >>> head = CosineHead(4, 2)
    >>> features = torch.randn(3, 4)
    >>> torch.allclose(head(features), head(7 * features), atol=1e-6)
    True
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.randn(out_features, in_features))

    def forward(self, features: Tensor) -> Tensor:
        """Cosines ``(B, out_features)`` of features ``(B, in_features)``."""
        return F.linear(F.normalize(features, dim=-1), F.normalize(self.weight, dim=-1))
