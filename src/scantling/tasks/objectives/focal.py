"""Focal loss: samples that are already right count less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.core.batch import LABEL
from scantling.tasks.objectives.base import full_precision, label_distribution, sample_weights
from scantling.tasks.objectives.weighted import ClassWeights, WeightedObjective

if TYPE_CHECKING:
    from tensordict import TensorDict


class Focal(WeightedObjective):
    """``-alpha * (1 - p)^gamma * log p`` of the true class; cross-entropy for ``alpha`` 1 and ``gamma`` 0.

    With class weights it is the mean weighted by class and sample weights, as in ``CrossEntropy``.

    Args:
        alpha: one scale for all classes; it only rescales the learning rate.
        gamma: at least 0; larger looks more at hard samples.
        epsilon: added to the probabilities; the released code of the source adds 1e-6.
        class_weights: ``balanced`` (largest class over own class), ``inverse_square_root`` (the root of that),
            ``effective_number``, ``dynamic`` (balanced at first, fading to equal), one weight a class, or none.
        decay: of the dynamic weights, per epoch; they need ``set_epoch``.
        beta: of the effective numbers, in [0, 1).

    Source: Huang et al. 2023, arXiv 2110.14160 (settings); Lin et al. 2017, arXiv 1708.02002, eq. 5. With ``epsilon``
    0 the logarithm is taken of the outputs directly, which is exact for certain samples.
    """

    def __init__(
        self,
        alpha: float = 5.0,
        gamma: float = 2.0,
        epsilon: float = 0.0,
        class_weights: ClassWeights | list[float] | None = None,
        decay: float = 0.9,
        beta: float = 0.9999,
    ) -> None:
        super().__init__(class_weights, decay, beta)
        self.alpha, self.gamma, self.epsilon = alpha, gamma, epsilon

    def loss(self, outputs: Tensor, batch: TensorDict) -> Tensor:
        label, known = label_distribution(batch[LABEL], self.num_classes)
        weight = self.weights(outputs.device)
        log_p = full_precision(outputs).log_softmax(1)
        if self.epsilon:
            log_p = (log_p.exp() + self.epsilon).log()
        # At p = 1 the power has no finite slope for gamma below 1.
        rest = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
        losses = -self.alpha * (label * weight * rest**self.gamma * log_p).sum(1)
        per_sample = sample_weights(batch, known)
        total = (per_sample * (label * weight).sum(1)).sum()
        return (per_sample * losses).sum() / total.clamp(min=torch.finfo(total.dtype).tiny)
