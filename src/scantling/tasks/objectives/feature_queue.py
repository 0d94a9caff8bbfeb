"""A queue of features of earlier steps, for contrasts wider than a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FeatureQueue(nn.Module):
    """The last ``length`` features with their labels, first in, first out; no gradient goes into them.

    Slots that were never filled have the label -1, as features without a label have: nothing is compared with them.
    The queue is part of a checkpoint, so that a resumed run is the same run.

    Args:
        length: how many features are kept; 0 for none.
        size: width of a feature.
    """

    features: Tensor
    labels: Tensor
    start: Tensor

    def __init__(self, length: int, size: int) -> None:
        super().__init__()
        self.length = length
        self.register_buffer("features", torch.zeros(length, size))
        self.register_buffer("labels", torch.full((length,), -1))
        self.register_buffer("start", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, features: Tensor, labels: Tensor) -> None:
        """Put in ``features (n, size)`` with ``labels (n,)`` in place of the oldest; any n, the last ones stay."""
        if not self.length:
            return
        features, labels = features[-self.length :], labels[-self.length :]
        slots = (self.start + torch.arange(len(labels), device=labels.device)) % self.length
        self.features[slots] = features.detach().to(self.features.dtype)
        self.labels[slots] = labels
        self.start.copy_((self.start + len(labels)) % self.length)
