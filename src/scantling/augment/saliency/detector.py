"""What every saliency detector is: a map of what stands out, computed once into the store or afresh for a batch."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch
from tensordict import TensorDict

from scantling.core.batch import IMAGE, SALIENCY, as_float
from scantling.core.seams import Derivation

if TYPE_CHECKING:
    from torch import Tensor


class SaliencyDetector(Derivation):
    """A map in [0, 1] of what stands out in every image.

    As a derivation it is kept in the store as ``saliency (B, 1, H, W)`` uint8 and moves with its image from then on.
    """

    from_images: ClassVar[bool] = True
    """Whether pixels are all that it needs; a detector that reads more of a batch cannot be kept in the store."""

    @abstractmethod
    def detect(self, batch: TensorDict) -> Tensor:
        """Maps ``(B, 1, H, W)`` float32 in [0, 1] of a batch whose images are float in [0, 1]."""

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """``saliency (B, 1, H, W)`` uint8 of ``images (B, C, H, W)``, uint8."""
        batch = as_float(TensorDict({IMAGE: images}, batch_size=[len(images)]))
        return {SALIENCY: self.detect(batch).mul(255).round_().to(torch.uint8)}
