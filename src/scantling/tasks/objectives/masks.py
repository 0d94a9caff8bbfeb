"""What objectives for masks share: which pixels belong to which structure, in probabilities and in the truth."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.core.errors import RecipeError
from scantling.tasks.objectives.base import TargetObjective

if TYPE_CHECKING:
    from scantling.core.target import Target


class MaskObjective(TargetObjective):
    """An objective for masks. Structures are what is drawn and scored: ``S`` of them, as ``target.structures`` names.

    Classes exclude one another and the first of them is the background, so that S is K - 1; or each output is a
    structure of its own, and S is K.
    """

    kinds = ("mask",)

    @abstractmethod
    def called(self, probabilities: Tensor) -> Tensor:
        """Pixels that belong to each structure, bool ``(B, S, H, W)``, from probabilities ``(B, K, H, W)``."""

    @abstractmethod
    def drawn(self, mask: Tensor) -> Tensor:
        """Pixels that belong to each structure, bool ``(B, S, H, W)``, from the batch field ``mask (B, H, W)``."""

    @abstractmethod
    def encode(self, called: Tensor) -> Tensor:
        """The inverse of :meth:`drawn`: uint8 ``(B, H, W)``, coded as the batch field ``mask``."""

    @abstractmethod
    def likely(self, probabilities: Tensor) -> Tensor:
        """Probability of each structure, ``(B, S, H, W)`` in [0, 1]."""

    @abstractmethod
    def entropy(self, probabilities: Tensor) -> Tensor:
        """How undecided each pixel is, ``(B, H, W)``: 0 certain, 1 as undecided as can be."""


class ExclusiveMasks(MaskObjective):
    """Every pixel belongs to the one class with the largest probability; class 0 is the background."""

    def called(self, probabilities: Tensor) -> Tensor:
        return probabilities.argmax(1, keepdim=True) == self._numbers(probabilities)

    def drawn(self, mask: Tensor) -> Tensor:
        return mask.unsqueeze(1) == self._numbers(mask)

    def encode(self, called: Tensor) -> Tensor:
        return (called * self._numbers(called)).sum(1).to(torch.uint8)

    def likely(self, probabilities: Tensor) -> Tensor:
        return probabilities[:, 1:]

    def entropy(self, probabilities: Tensor) -> Tensor:
        """Shannon entropy over the classes, as a share of ``log K``."""
        return torch.special.entr(probabilities).sum(1) / torch.tensor(float(self.num_classes)).log().item()

    def _numbers(self, like: Tensor) -> Tensor:
        return torch.arange(1, self.num_classes, device=like.device).view(1, -1, 1, 1)


class OverlappingMasks(MaskObjective):
    """Every output is a structure of its own: ``mask`` holds sums of bits, ``2^k`` for structure k.

    Args:
        threshold: probability from which a pixel belongs to a structure, in (0, 1).

    Attributes:
        thresholds: one a structure ``(K,)``, all equal until they are fitted to validation images; kept in the bundle.
    """

    kinds = ("masks",)
    thresholds: Tensor

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        if not 0.0 < threshold < 1.0:
            raise RecipeError(f"a threshold of {threshold:g}", where="objective", do="use 0 < threshold < 1")
        self.threshold = threshold
        self.register_buffer("thresholds", torch.empty(0))

    def configure(self, target: Target, class_counts: Tensor | None = None) -> None:
        super().configure(target, class_counts)
        if len(self.thresholds) != self.num_classes:
            self.thresholds = torch.full((self.num_classes,), float(self.threshold))

    def decode(self, outputs: Tensor) -> Tensor:
        """Probabilities ``(B, K, H, W)``, each in [0, 1] on its own."""
        return torch.sigmoid(self.logits(outputs) / self.temperature)

    def called(self, probabilities: Tensor) -> Tensor:
        return probabilities >= self.thresholds.to(probabilities).view(1, -1, 1, 1)

    def drawn(self, mask: Tensor) -> Tensor:
        return ((mask.unsqueeze(1) >> self._bits(mask)) & 1).bool() & (mask.unsqueeze(1) >= 0)

    def encode(self, called: Tensor) -> Tensor:
        return (called.long() << self._bits(called)).sum(1).to(torch.uint8)

    def likely(self, probabilities: Tensor) -> Tensor:
        return probabilities

    def entropy(self, probabilities: Tensor) -> Tensor:
        """The largest binary entropy of all structures, in bits."""
        both = torch.special.entr(probabilities) + torch.special.entr(1 - probabilities)
        return both.amax(1) / torch.tensor(2.0).log().item()

    def _bits(self, like: Tensor) -> Tensor:
        return torch.arange(self.num_classes, device=like.device).view(1, -1, 1, 1)
