"""Supervised contrast: samples of one class together, all others apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.core.batch import LABEL
from scantling.core.errors import RecipeError
from scantling.tasks.objectives.base import sample_weights, weighted_mean
from scantling.tasks.objectives.contrast import Contrast, pairs

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.tasks.objectives.cross_entropy import CrossEntropy


def supervised_contrastive_losses(similarities: Tensor, counts: Tensor, positives: Tensor) -> Tensor:
    """Loss ``(A,)`` of every anchor: the mean of ``-log softmax`` over the samples of its class; 0 where it has none.

    Args:
        similarities: cosines over the temperature, ``(A, M)``.
        counts: samples that are compared with the anchor, ``(A, M)`` bool.
        positives: those of its class among them, ``(A, M)`` bool.

    Source: Khosla et al. 2020, arXiv 2004.11362, eq. 2 (the sum outside the logarithm).
    """
    contrasted = torch.where(counts, similarities, torch.finfo(similarities.dtype).min)
    log_z = contrasted.logsumexp(1, keepdim=True)
    number = positives.sum(1)
    return torch.where(positives, log_z - similarities, 0).sum(1) / number.clamp(min=1)


class SupervisedContrast(Contrast):
    """The classification loss of both views plus ``weight`` times the supervised contrastive loss of their features.

    Args:
        weight: of the contrast, from 0.
        temperature: the cosines are divided by it.
        size: of the unit vectors that are compared.
        hidden: width of the projector's layers.
        queue: features of earlier steps to compare with; the paper has none.

    Raises:
        RecipeError: a weight below 0.

    Source: Khosla et al. 2020, arXiv 2004.11362. The paper trains features first and a classifier afterwards; here both
    learn together, as in long-tailed classification since.
    """

    def __init__(
        self, weight: float = 1.0, temperature: float = 0.1, size: int = 128, hidden: int = 2048, queue: int = 0
    ) -> None:
        super().__init__(temperature, size, hidden, layers=2, predictor=False, queue=queue)
        if not 0 <= weight < math.inf:
            raise RecipeError(f"weight is {weight:g}", where="task.contrast.weight", do="use 0 or more")
        self.weight = weight

    def loss(self, objective: CrossEntropy, outputs: Tensor, embeddings: Tensor, batch: TensorDict) -> Tensor:
        compared = pairs(embeddings, batch[LABEL], self.queue, self.temperature)
        losses = supervised_contrastive_losses(*compared)
        contrast = weighted_mean(losses, sample_weights(batch, batch[LABEL] >= 0))
        return objective.loss(outputs, batch) + self.weight * contrast
