"""Labels of mixed images: distributions over the classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def as_distributions(labels: Tensor, num_classes: int) -> Tensor:
    """Labels as ``(B, K)`` float: a 1 at the class; NaN all over where it is missing. Findings stay as they are.

    >>> as_distributions(torch.tensor([1, -1]), 2)
    tensor([[0., 1.],
            [nan, nan]])
    """
    if labels.is_floating_point():
        return labels
    known = labels >= 0
    rows = F.one_hot(torch.where(known, labels, 0), num_classes).float()
    return torch.where(known.unsqueeze(1), rows, torch.nan)


def mixed_labels(own: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """``share * own + (1 - share) * other``; a mix with a missing label is missing.

    Args:
        own: ``(B, K)``.
        other: ``(B, K)``.
        share: weight of ``own``, ``(B,)`` in [0, 1]; where it is 1, a missing label of the other side does no harm.
    """
    share = share.unsqueeze(1)
    return torch.where(share == 1, own, torch.lerp(other, own, share))
