"""Kappa loss: one minus a soft quadratic weighted kappa of the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.core.batch import LABEL
from scantling.tasks.objectives.base import TargetObjective, full_precision, label_distribution, sample_weights

if TYPE_CHECKING:
    from tensordict import TensorDict


def soft_kappa_loss(probabilities: Tensor, label: Tensor, weight: Tensor, power: float = 2.0) -> Tensor:
    """``1 - kappa`` with sharpened probabilities in place of predictions, in [0, 2].

    Args:
        probabilities: ``(B, K)``, rows sum to 1.
        label: distributions over the grades, ``(B, K)``.
        weight: of the samples, ``(B,)``; 0 leaves a sample out.
        power: to which probabilities are raised before they are normalised again.

    Returns:
        A scalar; 0 for a batch without labels, or when labels and predictions all agree on one grade.
    """
    sharp = probabilities**power
    sharp = weight.unsqueeze(1) * sharp / sharp.sum(1, keepdim=True)
    grades = torch.arange(label.shape[1], device=label.device, dtype=sharp.dtype)
    distance = ((grades[:, None] - grades) / (len(grades) - 1)) ** 2
    observed = (distance * (sharp.T @ label.to(sharp.dtype))).sum()
    marginal = torch.outer(sharp.sum(0), (weight.unsqueeze(1) * label).sum(0).to(sharp.dtype))
    total = weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
    return observed / ((distance * marginal).sum() / total + 1e-10)


class KappaLoss(TargetObjective):
    """Trains the metric itself: ``1 - `` a soft quadratic weighted kappa, over batches that should be large.

    Args:
        power: to which probabilities are raised before they are normalised again.

    Source: Huang et al. 2023, arXiv 2110.14160; de la Torre et al. 2018. The released code feeds raw outputs into the
    formula; it is meant for probabilities, so a softmax comes first here.
    """

    kinds = ("grade",)

    def __init__(self, power: float = 2.0) -> None:
        super().__init__()
        self.power = power

    def loss(self, outputs: Tensor, batch: TensorDict) -> Tensor:
        label, known = label_distribution(batch[LABEL], self.num_classes)
        probabilities = full_precision(outputs).softmax(1)
        return soft_kappa_loss(probabilities, label, sample_weights(batch, known), self.power)
