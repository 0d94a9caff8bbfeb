"""Mixup in which the rare image has the larger part everywhere and gives the label alone: SPMix without saliency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.augment.mixers.rare_side import LabelSide, RareSideMixer
from scantling.core.errors import RecipeError
from scantling.data.samplers import Sampler

if TYPE_CHECKING:
    from tensordict import TensorDict


class RareMixup(RareSideMixer):
    """One weight for the whole image, uniform in a range, and the rare side's label.

    Args:
        low: smallest weight of the labelled image, in [0, 1].
        high: largest.
        label_side: ``rare``; or ``common``, for comparison.
        same_class: mix pairs of one class, too.
        probability: share of the rows that are mixed, in [0, 1].
        partners: sampler that draws the rare side; none: rows of the same batch.
        warmup_epochs: epochs at the start in which nothing is mixed.
        last_epochs: epochs at the end in which nothing is mixed.

    Raises:
        RecipeError: a value out of range, or an unknown word.
    """

    def __init__(
        self,
        low: float = 0.5,
        high: float = 0.8,
        label_side: LabelSide = "rare",
        same_class: bool = True,
        probability: float = 0.5,
        partners: Sampler | None = None,
        warmup_epochs: int = 0,
        last_epochs: int = 0,
    ) -> None:
        super().__init__(label_side, same_class, probability, partners, warmup_epochs, last_epochs)
        if not 0 <= low <= high <= 1:
            raise RecipeError(f"weights from {low:g} to {high:g}", where="task.mixer", do="use 0 <= low <= high <= 1")
        self.low, self.high = low, high

    def ratios(self, batch: TensorDict, labelled: Tensor, background: Tensor, generator: torch.Generator) -> Tensor:
        """One weight an image, ``(B, 1, 1, 1)``."""
        drawn = torch.rand(len(labelled), 1, 1, 1, generator=generator)
        return drawn.mul_(self.high - self.low).add_(self.low).to(labelled.device)
