"""GPaCo: classes as learnable centres in a supervised contrast, corrected for a long tail."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.core.batch import LABEL
from scantling.core.errors import RecipeError
from scantling.tasks.objectives.base import label_distribution, sample_weights, weighted_mean
from scantling.tasks.objectives.contrast import Contrast, pairs

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.tasks.objectives.cross_entropy import CrossEntropy


def gpaco_losses(
    class_logits: Tensor,
    labels: Tensor,
    similarities: Tensor,
    counts: Tensor,
    positives: Tensor,
    alpha: float = 0.05,
    beta: float = 1.0,
    gamma: float = 1.0,
) -> Tensor:
    """Loss ``(A,)`` of every anchor: ``-[beta (a_y - log Z) + alpha sum_j (b_j - log Z)] / [beta + alpha P]``.

    The sum goes over the P samples j of the anchor's class, and ``Z = sum_c exp(a_c) + gamma sum_j exp(b_j)`` over all
    classes and all samples that count. With ``alpha = gamma = 0`` it is the cross-entropy of the class logits.

    Args:
        class_logits: a, ``(A, K)``, with the log prior of the classes in them.
        labels: y, ``(A,)`` from 0.
        similarities: b, ``(A, M)``.
        counts: samples that are compared with the anchor, ``(A, M)`` bool.
        positives: those of its class among them, ``(A, M)`` bool.
        alpha: weight of a positive sample.
        beta: weight of the class.
        gamma: weight of the samples among what is contrasted.

    Source: Cui et al. 2023, arXiv 2209.12400 (GPaCo), as released.
    """
    shift = math.log(gamma) if gamma > 0 else -math.inf
    contrasted = torch.where(counts, similarities + shift, -math.inf)
    log_z = torch.cat([class_logits, contrasted], dim=1).logsumexp(1)
    number = positives.sum(1)
    of_class = class_logits.gather(1, labels[:, None]).squeeze(1) - log_z
    of_samples = torch.where(positives, similarities, 0).sum(1) - number * log_z
    return -(beta * of_class + alpha * of_samples) / (beta + alpha * number)


class GPaCo(Contrast):
    """Each anchor is drawn to the centre of its class and to samples of its class, in one softmax over all of them.

    It stands in the place of the classification loss, whose class logits (with ``BalancedSoftmax``, the log prior in
    them) and class weights it takes.

    Args:
        alpha: weight of a sample of the class against the class's own centre.
        beta: weight of the centre; above 0.
        gamma: weight of samples among what is contrasted.
        temperature: the cosines are divided by it.
        size: of the unit vectors that are compared.
        hidden: width of the projector's layers.
        queue: features of earlier steps to compare with.

    Raises:
        RecipeError: weights below 0, or a ``beta`` of 0.

    Source: Cui et al. 2023, arXiv 2209.12400; heads and settings as released with SPMix (arXiv 2406.10801). Departures:
    each view has class logits of its own features, and slots of the queue that were never filled do not count.
    """

    def __init__(
        self,
        alpha: float = 0.05,
        beta: float = 1.0,
        gamma: float = 1.0,
        temperature: float = 0.2,
        size: int = 256,
        hidden: int = 4096,
        queue: int = 8192,
    ) -> None:
        super().__init__(temperature, size, hidden, layers=3, predictor=True, queue=queue)
        if min(alpha, gamma) < 0 or beta <= 0:
            raise RecipeError(
                f"alpha {alpha:g}, beta {beta:g}, gamma {gamma:g}",
                where="task.contrast",
                do="use alpha and gamma from 0, and beta above 0",
            )
        self.alpha, self.beta, self.gamma = alpha, beta, gamma

    def loss(self, objective: CrossEntropy, outputs: Tensor, embeddings: Tensor, batch: TensorDict) -> Tensor:
        shares, known = label_distribution(batch[LABEL], objective.num_classes)
        labels = batch[LABEL].clamp(min=0)
        compared = pairs(embeddings, batch[LABEL], self.queue, self.temperature)
        losses = gpaco_losses(
            objective.class_logits(outputs, shares), labels, *compared, self.alpha, self.beta, self.gamma
        )
        return weighted_mean(losses, sample_weights(batch, known) * objective.weights(outputs.device)[labels])
