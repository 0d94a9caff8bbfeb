"""Cross-entropy, with class weights that take effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.core.batch import LABEL
from scantling.core.errors import RecipeError
from scantling.tasks.objectives.base import full_precision, label_distribution, sample_weights
from scantling.tasks.objectives.weighted import ClassWeights, WeightedObjective

if TYPE_CHECKING:
    from tensordict import TensorDict


class CrossEntropy(WeightedObjective):
    """Cross-entropy of a softmax over the classes; labels may be class numbers ``(B,)`` or mixtures ``(B, K)``.

    The loss is the mean weighted by class and sample weights (as ``torch.nn.CrossEntropyLoss`` divides by the sum of
    the weights), so weights shift the balance between classes and not the learning rate.

    Args:
        label_smoothing: share of the label that is spread over all classes, in [0, 1).
        class_weights: ``balanced`` (largest class over own class), ``inverse_square_root`` (the root of that),
            ``effective_number``, ``dynamic`` (balanced at first, fading to equal), one weight a class, or none.
        decay: of the dynamic weights, per epoch; they need ``set_epoch``.
        beta: of the effective numbers, in [0, 1).

    Raises:
        RecipeError: weights that do not fit the target, or weights by class counts without any.

    Source: Huang et al. 2023, arXiv 2110.14160 (balanced, dynamic), whose released trainer sets these weights without
    any effect on the loss; here they have one. Cui et al. 2019, arXiv 1901.05555 (effective numbers).
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weights: ClassWeights | list[float] | None = None,
        decay: float = 0.9,
        beta: float = 0.9999,
    ) -> None:
        super().__init__(class_weights, decay, beta)
        if not 0 <= label_smoothing < 1:
            raise RecipeError(f"label_smoothing must lie in [0, 1), not {label_smoothing}", where="objective")
        self.label_smoothing = label_smoothing

    def class_logits(self, outputs: Tensor, label: Tensor) -> Tensor:
        """The logits ``(B, K)`` whose softmax the loss compares with the labels, in full precision.

        Losses for long tails change them: by the prior of a class, or by a margin round the class of the label.

        Args:
            outputs: of the network, ``(B, K)``.
            label: distributions over the classes, ``(B, K)``.
        """
        return full_precision(outputs)

    def loss(self, outputs: Tensor, batch: TensorDict) -> Tensor:
        label, known = label_distribution(batch[LABEL], self.num_classes)
        weight = self.weights(outputs.device)
        smooth = label.lerp(torch.full_like(label, 1 / self.num_classes), self.label_smoothing)
        losses = -(smooth * weight * self.class_logits(outputs, label).log_softmax(1)).sum(1)
        per_sample = sample_weights(batch, known)
        total = (per_sample * (label * weight).sum(1)).sum()
        return (per_sample * losses).sum() / total.clamp(min=torch.finfo(total.dtype).tiny)
