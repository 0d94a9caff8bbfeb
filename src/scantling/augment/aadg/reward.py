"""What a policy is worth: how far apart the source domains lie under it.

Source: Lyu et al. 2022, arXiv 2207.13249. The paper adds the distances of its three pairs of domains; here their mean
is taken, so that rewards of any number of domains have one scale.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scantling.augment.aadg.sinkhorn import sinkhorn_divergence

SMALLEST_SPREAD = 1e-5


def diversity(features: Tensor, blur: float = 0.05) -> Tensor:
    """Mean Sinkhorn divergence over all pairs of domains.

    Args:
        features: of J policies, K domains and n images of each, ``(J, K, n, d)``.
        blur: see :func:`sinkhorn_divergence`.

    Returns:
        ``(J,)`` float32, in about [0, 2].
    """
    first, second = torch.triu_indices(features.shape[1], features.shape[1], 1, device=features.device)
    return sinkhorn_divergence(features[:, first], features[:, second], blur).mean(1)


def by_domain(features: Tensor, domains: Tensor, number: int) -> Tensor:
    """Rows of a batch with equally many rows of every domain, one domain after the other.

    Args:
        features: ``(n K, d)``.
        domains: of the rows, ``(n K,)`` int64 in 0 ... K-1.
        number: K.

    Returns:
        ``(K, n, d)``.
    """
    return features[domains.argsort(stable=True)].view(number, -1, features.shape[-1])


def advantages(rewards: Tensor) -> Tensor:
    """Rewards ``(M,)`` without their mean, in units of their deviation; all 0 where none is better than another.

    >>> advantages(torch.tensor([1.0, 2.0, 3.0])).round(decimals=3)
    tensor([-1.,  0.,  1.])
    """
    rewards = rewards.double()
    if bool(rewards.max() == rewards.min()):
        return torch.zeros_like(rewards, dtype=torch.float32)
    return ((rewards - rewards.mean()) / (rewards.std() + SMALLEST_SPREAD)).float()
