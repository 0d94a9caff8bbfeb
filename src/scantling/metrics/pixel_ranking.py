"""How well probabilities of pixels rank the pixels of a structure above the others, from counts that add up."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from scantling.metrics.weights import ratio

BINS = 1024
LIMIT = 16.0
"""Log-odds beyond which probabilities are no longer told apart; bins are 1/32 wide in log-odds."""


def score_counts(likely: Tensor, drawn: Tensor, known: Tensor) -> Tensor:
    """Counts of pixels by their probability, outside and inside each structure.

    Args:
        likely: probabilities ``(B, S, H, W)``.
        drawn: truth, bool ``(B, S, H, W)``.
        known: pixels that count, bool ``(B, S, H, W)`` or ``(B, 1, H, W)``.

    Returns:
        ``(B, S, 2, BINS)`` int64 on the CPU; those of several images or batches may be added.
    """
    b, s = likely.shape[:2]
    odds = torch.logit(likely.double(), eps=1e-9).clamp(-LIMIT, LIMIT)
    level = ((odds + LIMIT) * (BINS / (2 * LIMIT))).long().clamp(max=BINS - 1)
    group = torch.arange(b * s, device=likely.device).view(b, s, 1, 1) * 2 + drawn
    place = (group * BINS + level)[known.expand_as(drawn)]
    return torch.bincount(place.cpu(), minlength=b * s * 2 * BINS).view(b, s, 2, BINS)


def pixel_auroc(counts: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of pixels, ties counted half, from ``counts (..., 2, BINS)``; NaN without both kinds."""
    outside, inside = counts[..., 0, :].astype(np.float64), counts[..., 1, :].astype(np.float64)
    below = outside.cumsum(-1) - outside / 2
    return ratio((inside * below).sum(-1), inside.sum(-1) * outside.sum(-1))
