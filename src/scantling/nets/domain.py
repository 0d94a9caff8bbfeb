"""Which domain an image is from, told by a small network from the pooled features of another one.

Source: Lyu et al. 2022, arXiv 2207.13249.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DomainDecoder(nn.Module):
    """Domain features and domain logits from pooled features.

    Args:
        features: width of the pooled features.
        domains: K.
        width: of the domain features.

    >>> sum(p.numel() for p in DomainDecoder(1280, 3).parameters())
    164355
    """

    def __init__(self, features: int, domains: int, width: int = 128) -> None:
        super().__init__()
        self.project = nn.Linear(features, width)
        self.classify = nn.Linear(width, domains)

    def features(self, pooled: Tensor) -> Tensor:
        """Domain features ``(B, width)`` of pooled features ``(B, features)``."""
        return F.leaky_relu(self.project(pooled), 0.2)

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits of the domains, ``(B, K)``."""
        return self.classify(self.features(pooled))


def soft_domains(domains: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """Softened one-hot labels: the true domain has 0.8 to 1, the others share the rest at random; rows sum to 1.

    Args:
        domains: ``(B,)`` int64 in 0 ... K-1.
        number: K, at least 2.
        generator: on the CPU.

    Returns:
        ``(B, K)`` float32.
    """
    true = 0.8 + 0.2 * torch.rand(len(domains), 1, generator=generator).to(domains.device)
    share = torch.rand(len(domains), number, generator=generator).clamp_(min=1e-6).to(domains.device)
    share.scatter_(1, domains[:, None], 0.0)
    return (share / share.sum(1, keepdim=True) * (1 - true)).scatter(1, domains[:, None], true)
