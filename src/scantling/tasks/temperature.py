"""Temperature scaling: probabilities that mean what they say, without another prediction."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

LOWEST, HIGHEST = 0.01, 100.0


def negative_log_likelihood(logits: Tensor, labels: Tensor, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of the known labels.

    Args:
        logits: ``(N, K)`` or ``(N, K, H, W)``.
        labels: class numbers ``(N,)`` or ``(N, H, W)``, missing is negative; or findings ``(N, K)`` as floats, missing
            is NaN.
        temperature: by which the logits are divided, above 0.

    Returns:
        Nats; NaN without any known label.
    """
    scaled = logits.double() / temperature
    if labels.is_floating_point():
        known = labels >= 0
        return F.binary_cross_entropy_with_logits(scaled[known], labels[known].double()).item()
    return F.cross_entropy(scaled, labels.long().clamp(min=-1), ignore_index=-1).item()


@torch.no_grad()
def fit_temperature(logits: Tensor, labels: Tensor, tolerance: float = 1e-4) -> float:
    """The temperature that makes held-out labels most likely.

    The likelihood has one optimum in the temperature (its logarithm is concave in the inverse), which a golden-section
    search finds. Dividing by a positive number keeps the order of the logits, so no prediction changes.

    Args:
        logits: as in :func:`negative_log_likelihood`, of validation samples that the network did not learn from.
        labels: as there.
        tolerance: relative, of the result.

    Returns:
        A temperature in [0.01, 100]; 1 where no label is known or no temperature is better.

    Source: Guo et al. 2017, arXiv 1706.04599, section 4.2.

    >>> fit_temperature(torch.tensor([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [4.0, 0.0]]), torch.tensor([0, 0, 0, 1]))
    3.64...
    """
    if not (labels >= 0).any():
        return 1.0
    ratio = (math.sqrt(5) - 1) / 2
    low, high = math.log(LOWEST), math.log(HIGHEST)
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = (negative_log_likelihood(logits, labels, math.exp(t)) for t in (left, right))
    while high - low > tolerance:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = negative_log_likelihood(logits, labels, math.exp(left))
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = negative_log_likelihood(logits, labels, math.exp(right))
    best = math.exp((low + high) / 2)
    better = negative_log_likelihood(logits, labels, best) < negative_log_likelihood(logits, labels)
    return best if better else 1.0
