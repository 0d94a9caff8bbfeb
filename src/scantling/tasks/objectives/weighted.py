"""What objectives with class weights share: their settings, and the weights of an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from scantling.core.errors import RecipeError
from scantling.tasks.objectives.base import TargetObjective
from scantling.tasks.objectives.class_weights import (
    balanced_weights,
    dynamic_weights,
    effective_number_weights,
    inverse_square_root_weights,
)

if TYPE_CHECKING:
    from scantling.core.target import Target

ClassWeights = Literal["balanced", "dynamic", "effective_number", "inverse_square_root"]


class WeightedObjective(TargetObjective):
    """An objective whose classes may have weights.

    Args:
        class_weights: ``balanced`` (largest class over own class), ``inverse_square_root`` (the root of that),
            ``effective_number``, ``dynamic`` (balanced at first, fading to equal), one weight a class, or none.
        decay: of the dynamic weights, per epoch.
        beta: of the effective numbers, in [0, 1).

    Raises:
        RecipeError: weights that do not fit the target, or weights by class counts without any.
    """

    def __init__(
        self, class_weights: ClassWeights | list[float] | None = None, decay: float = 0.9, beta: float = 0.9999
    ) -> None:
        super().__init__()
        if not 0 <= beta < 1:
            raise RecipeError(f"beta must lie in [0, 1), not {beta}", where="objective")
        self.class_weights, self.decay, self.beta = class_weights, decay, beta
        self._epoch = 0

    def configure(self, target: Target, class_counts: Tensor | None = None) -> None:
        super().configure(target, class_counts)
        if isinstance(self.class_weights, list) and len(self.class_weights) != target.size:
            raise RecipeError(
                f"{len(self.class_weights)} class_weights for {target.size} classes",
                where="objective",
                do=f"give one weight for each of {', '.join(target.names)}",
            )

    def set_epoch(self, epoch: int, epochs: int = 1) -> None:
        self._epoch = epoch

    def counts(self, why: str, device: torch.device | str = "cpu") -> Tensor:
        """Training samples per class ``(K,)``.

        Raises:
            RecipeError: there are none; ``why`` says what needs them.
        """
        if self.class_counts is None:
            raise RecipeError(
                f"{why} need the class counts of the training data",
                where="objective",
                do="call configure(target, class_counts)",
            )
        return self.class_counts.to(device)

    def weights(self, device: torch.device | str = "cpu") -> Tensor:
        """The class weights ``(K,)`` that the loss uses at this epoch.

        Raises:
            RecipeError: they follow from class counts, and there are none.
        """
        if self.class_weights is None:
            return torch.ones(self.num_classes, device=device)
        if isinstance(self.class_weights, list):
            return torch.tensor(self.class_weights, dtype=torch.float32, device=device)
        counts = self.counts(f"class_weights '{self.class_weights}'", device)
        if self.class_weights == "dynamic":
            return dynamic_weights(counts, self._epoch, self.decay)
        if self.class_weights == "effective_number":
            return effective_number_weights(counts, self.beta)
        return (balanced_weights if self.class_weights == "balanced" else inverse_square_root_weights)(counts)
