"""Cross-entropy, with class weights that take effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from scantling.core.batch import LABEL
from scantling.core.errors import RecipeError
from scantling.tasks.objectives.base import TargetObjective, full_precision, label_distribution, sample_weights
from scantling.tasks.objectives.class_weights import balanced_weights, dynamic_weights

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.core.target import Target


class CrossEntropy(TargetObjective):
    """Cross-entropy of a softmax over the classes; labels may be class numbers ``(B,)`` or mixtures ``(B, K)``.

    The loss is the mean weighted by class and sample weights (as ``torch.nn.CrossEntropyLoss`` divides by the sum of
    the weights), so weights shift the balance between classes and not the learning rate.

    Args:
        label_smoothing: share of the label that is spread over all classes, in [0, 1).
        class_weights: ``balanced`` (largest class over own class), ``dynamic`` (balanced at first, fading to equal),
            one weight a class, or none.
        decay: of the dynamic weights, per epoch; they need ``set_epoch``.

    Raises:
        RecipeError: weights that do not fit the target, or balanced weights without class counts.

    Source: Huang et al. 2023, arXiv 2110.14160. Their released trainer sets balanced and dynamic weights without any
    effect on the loss; here they have one.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weights: Literal["balanced", "dynamic"] | list[float] | None = None,
        decay: float = 0.9,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise RecipeError(f"label_smoothing must lie in [0, 1), not {label_smoothing}", where="objective")
        self.label_smoothing, self.class_weights, self.decay = label_smoothing, class_weights, decay
        self._epoch = 0

    def configure(self, target: Target, class_counts: Tensor | None = None) -> None:
        super().configure(target, class_counts)
        if isinstance(self.class_weights, list) and len(self.class_weights) != target.size:
            raise RecipeError(
                f"{len(self.class_weights)} class_weights for {target.size} classes",
                where="objective",
                do=f"give one weight for each of {', '.join(target.names)}",
            )

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def loss(self, outputs: Tensor, batch: TensorDict) -> Tensor:
        label, known = label_distribution(batch[LABEL], self.num_classes)
        weight = self.weights(outputs.device)
        smooth = label.lerp(torch.full_like(label, 1 / self.num_classes), self.label_smoothing)
        losses = -(smooth * weight * full_precision(outputs).log_softmax(1)).sum(1)
        per_sample = sample_weights(batch, known)
        total = (per_sample * (label * weight).sum(1)).sum()
        return (per_sample * losses).sum() / total.clamp(min=torch.finfo(total.dtype).tiny)

    def weights(self, device: torch.device | str = "cpu") -> Tensor:
        """The class weights ``(K,)`` that the loss uses at this epoch.

        Raises:
            RecipeError: they follow from class counts, and there are none.
        """
        if self.class_weights is None:
            return torch.ones(self.num_classes, device=device)
        if isinstance(self.class_weights, list):
            return torch.tensor(self.class_weights, dtype=torch.float32, device=device)
        if self.class_counts is None:
            raise RecipeError(
                f"class_weights '{self.class_weights}' need the class counts of the training data",
                where="objective",
                do="call configure(target, class_counts)",
            )
        counts = self.class_counts.to(device)
        return (
            balanced_weights(counts)
            if self.class_weights == "balanced"
            else dynamic_weights(counts, self._epoch, self.decay)
        )
