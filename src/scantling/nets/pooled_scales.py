"""Feature maps of several depths, pooled over space: their means and standard deviations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pooled_scales(maps: Sequence[Tensor]) -> Tensor:
    """Mean and standard deviation over space of every map ``(B, C, h, w)``, one after the other, ``(B, 2 sum of C)``.

    >>> pooled_scales([torch.ones(1, 2, 3, 3), 4 * torch.ones(1, 1, 2, 2)])
    tensor([[1., 1., 0., 0., 4., 0.]])
    """
    parts = []
    for features in maps:
        flat = features.float().flatten(2)
        parts += [flat.mean(2), flat.std(2, correction=0)]
    return torch.cat(parts, 1)
