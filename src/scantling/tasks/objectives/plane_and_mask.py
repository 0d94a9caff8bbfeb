"""Which plane an image shows, and the mask of what is measured in it: two losses that share an encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from scantling.core.batch import LABEL, MASK
from scantling.core.errors import RecipeError
from scantling.tasks.objectives.base import full_precision, sample_weights, weighted_mean
from scantling.tasks.objectives.masks import MaskObjective

if TYPE_CHECKING:
    from tensordict import TensorDict

SMOOTH = 1.0


def smooth_dice_loss(probabilities: Tensor, truth: Tensor) -> Tensor:
    """``1 - (2 sum(p g) + 1) / (sum p + sum g + 1)`` of every image, ``(B,)`` in [0, 1), from ``(B, N)`` each.

    A perfect binary prediction costs nothing, an empty one of an empty truth neither.
    """
    overlap, size = (probabilities * truth).sum(1), (probabilities + truth).sum(1)
    return 1 - (2 * overlap + SMOOTH) / (size + SMOOTH)


class PlaneAndMask(MaskObjective):
    """``plane_weight * cross-entropy + (1 - plane_weight) * (Dice + binary cross-entropy)``.

    Outputs are ``(B, 1 + K, H, W)``: the logit of the mask, and the logits of the planes, each the same in all pixels.
    Images without a plane (-1) have no cross-entropy, images without a mask (-1 everywhere) no Dice; pixels of -1 do
    not count.

    Args:
        plane_weight: lambda, the share of the planes in the loss, in [0, 1].
        threshold: probability from which a pixel belongs to the mask, in (0, 1).

    Raises:
        RecipeError: a share or threshold out of its range.

    Source: Qazi et al. 2023, arXiv 2311.09607 (the sum with lambda; the loss of the masks and the value of lambda are
    not told there).
    """

    kinds = ("biometry",)

    def __init__(self, plane_weight: float = 0.3, threshold: float = 0.5) -> None:
        super().__init__()
        if not 0.0 <= plane_weight <= 1.0:
            raise RecipeError(f"a share of {plane_weight:g}", where="objective.plane_weight", do="use 0 to 1")
        if not 0.0 < threshold < 1.0:
            raise RecipeError(f"a threshold of {threshold:g}", where="objective.threshold", do="use 0 < threshold < 1")
        self.plane_weight, self.threshold = plane_weight, threshold

    def outputs_for(self, target: object) -> int:
        """One for the mask, and one a plane."""
        return 1 + self.num_classes

    def loss(self, outputs: Tensor, batch: TensorDict) -> Tensor:
        outputs = full_precision(outputs)
        share = self.plane_weight
        return share * self.plane_loss(outputs, batch) + (1 - share) * self.mask_loss(outputs, batch)

    def plane_loss(self, outputs: Tensor, batch: TensorDict) -> Tensor:
        """Cross-entropy of the planes, a scalar; of a single plane 0."""
        label = batch[LABEL] if LABEL in batch else torch.full_like(outputs[:, 0, 0, 0], -1).long()
        known = label >= 0
        # The logits are the same everywhere; one pixel holds their whole gradient.
        losses = F.cross_entropy(outputs[:, 1:, 0, 0], torch.where(known, label, 0), reduction="none")
        return weighted_mean(losses, sample_weights(batch, known))

    def mask_loss(self, outputs: Tensor, batch: TensorDict) -> Tensor:
        """Dice plus binary cross-entropy of the masks, a scalar."""
        logits = outputs[:, 0].flatten(1)
        mask = batch[MASK].flatten(1) if MASK in batch else torch.full_like(logits, -1)
        known, truth = (mask >= 0).to(logits), (mask == 1).to(logits)
        weight = sample_weights(batch, known.any(1))
        entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        dice = smooth_dice_loss(logits.sigmoid() * known, truth)
        return weighted_mean(entropy, weight.unsqueeze(1) * known) + weighted_mean(dice, weight)

    def decode(self, outputs: Tensor) -> Tensor:
        """Probabilities ``(B, 1 + K, H, W)``: of the mask, and of the planes, which sum to 1."""
        logits = full_precision(outputs) / self.temperature
        return torch.cat([logits[:, :1].sigmoid(), logits[:, 1:].softmax(1)], dim=1)

    def planes(self, probabilities: Tensor) -> Tensor:
        """Probabilities of the planes ``(B, K)`` from ``(B, 1 + K, H, W)``."""
        return probabilities[:, 1:].mean((2, 3))

    def called(self, probabilities: Tensor) -> Tensor:
        return probabilities[:, :1] >= self.threshold

    def drawn(self, mask: Tensor) -> Tensor:
        return mask.unsqueeze(1) == 1

    def encode(self, called: Tensor) -> Tensor:
        return called[:, 0].to(torch.uint8)

    def likely(self, probabilities: Tensor) -> Tensor:
        return probabilities[:, :1]

    def entropy(self, probabilities: Tensor) -> Tensor:
        """Binary entropy of the mask, in bits."""
        mask = probabilities[:, 0]
        return (torch.special.entr(mask) + torch.special.entr(1 - mask)) / torch.tensor(2.0).log().item()
