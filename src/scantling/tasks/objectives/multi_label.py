"""Several findings an image, each present, absent or not known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from scantling.core.batch import LABEL
from scantling.core.errors import RecipeError
from scantling.tasks.objectives.base import TargetObjective, full_precision, sample_weights, weighted_mean

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.core.target import Target


class MultiLabel(TargetObjective):
    """Binary cross-entropy of every known finding; ``decode`` gives ``(B, K)``, a finding is present from 0.5 on.

    Args:
        pos_weight: weight of a present finding against an absent one: ``balanced`` (absent over present count), one
            number for all, one for each finding, or none.

    Raises:
        RecipeError: weights that do not fit the target, or balanced weights without counts.
    """

    kinds = ("findings",)

    def __init__(self, pos_weight: Literal["balanced"] | float | list[float] | None = None) -> None:
        super().__init__()
        self.pos_weight = pos_weight

    def configure(self, target: Target, class_counts: Tensor | None = None) -> None:
        super().configure(target, class_counts)
        if isinstance(self.pos_weight, list) and len(self.pos_weight) != target.size:
            raise RecipeError(
                f"{len(self.pos_weight)} values of pos_weight for {target.size} findings", where="objective"
            )

    def weights(self, device: torch.device | str = "cpu") -> Tensor | None:
        """Weights ``(K,)`` of present findings; None for equal ones.

        Raises:
            RecipeError: they follow from counts, and there are none.
        """
        if self.pos_weight is None:
            return None
        if not isinstance(self.pos_weight, str):
            return torch.as_tensor(self.pos_weight, dtype=torch.float32, device=device).expand(self.num_classes)
        if self.class_counts is None:
            raise RecipeError(
                "pos_weight 'balanced' needs the counts of the training data",
                where="objective",
                do="call configure(target, class_counts)",
            )
        absent, present = self.class_counts.to(device).clamp(min=1).unbind(1)
        return absent / present

    def loss(self, outputs: Tensor, batch: TensorDict) -> Tensor:
        label, logits = batch[LABEL], full_precision(outputs)
        known = label >= 0
        losses = F.binary_cross_entropy_with_logits(
            logits,
            torch.where(known, label, 0).to(logits.dtype),
            reduction="none",
            pos_weight=self.weights(outputs.device),
        )
        weight = sample_weights(batch, known.any(1)).unsqueeze(1) * known
        return weighted_mean(losses, weight)

    def decode(self, outputs: Tensor) -> Tensor:
        return torch.sigmoid(full_precision(outputs) / self.temperature)
