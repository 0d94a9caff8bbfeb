"""Focal loss: samples that are already right count less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.core.batch import LABEL
from scantling.tasks.objectives.base import (
    TargetObjective,
    full_precision,
    label_distribution,
    sample_weights,
    weighted_mean,
)

if TYPE_CHECKING:
    from tensordict import TensorDict


class Focal(TargetObjective):
    """``-alpha * (1 - p)^gamma * log p`` of the true class; cross-entropy for ``alpha`` 1 and ``gamma`` 0.

    Args:
        alpha: one scale for all classes; it only rescales the learning rate.
        gamma: at least 0; larger looks more at hard samples.
        epsilon: added to the probabilities; the released code of the source adds 1e-6.

    Source: Huang et al. 2023, arXiv 2110.14160 (settings); Lin et al. 2017, arXiv 1708.02002, eq. 5. With ``epsilon``
    0 the logarithm is taken of the outputs directly, which is exact for certain samples.
    """

    def __init__(self, alpha: float = 5.0, gamma: float = 2.0, epsilon: float = 0.0) -> None:
        super().__init__()
        self.alpha, self.gamma, self.epsilon = alpha, gamma, epsilon

    def loss(self, outputs: Tensor, batch: TensorDict) -> Tensor:
        label, known = label_distribution(batch[LABEL], self.num_classes)
        log_p = full_precision(outputs).log_softmax(1)
        if self.epsilon:
            log_p = (log_p.exp() + self.epsilon).log()
        # At p = 1 the power has no finite slope for gamma below 1.
        rest = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
        losses = -self.alpha * (label * rest**self.gamma * log_p).sum(1)
        return weighted_mean(losses, sample_weights(batch, known))
