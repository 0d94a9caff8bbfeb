"""Dice plus cross-entropy for masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.core.batch import MASK
from scantling.core.errors import RecipeError
from scantling.tasks.objectives.base import TargetObjective, full_precision, sample_weights, weighted_mean

if TYPE_CHECKING:
    from tensordict import TensorDict

SMOOTH = 1e-5


def dice_loss(
    probabilities: Tensor, label: Tensor, weight: Tensor, squared: bool = False, batch_dice: bool = False
) -> Tensor:
    """``1 - 2 |P and Y| / (|P| + |Y|)`` of every class, averaged over classes and images.

    Args:
        probabilities: ``(B, K, N)``, 0 at pixels that do not count.
        label: one-hot ``(B, K, N)``, 0 at pixels that do not count.
        weight: of the images, ``(B,)``.
        squared: square the probabilities in the denominator.
        batch_dice: take all images as one, so that a class absent from an image does not cost it.

    Returns:
        A scalar in [0, 1]. Sizes are smoothed by 1e-5 above and below.
    """
    overlap = (probabilities * label).sum(2)
    size = (probabilities**2 if squared else probabilities).sum(2) + label.sum(2)
    if batch_dice:
        overlap, size = weight @ overlap, weight @ size
        return (1 - (2 * overlap + SMOOTH) / (size + SMOOTH)).mean()
    return weighted_mean((1 - (2 * overlap + SMOOTH) / (size + SMOOTH)).mean(1), weight)


class DiceCrossEntropy(TargetObjective):
    """Cross-entropy of the pixels plus Dice of the classes; outputs ``(B, K, H, W)``, pixels labelled -1 do not count.

    Args:
        squared: square the probabilities in Dice's denominator.
        batch_dice: one Dice for the whole batch; steadier for classes that are often absent.
        include_background: whether class 0 takes part in Dice.
        dice_weight: share of Dice in the loss, at least 0.
        cross_entropy_weight: share of cross-entropy in the loss, at least 0.

    Source: Isensee et al. 2021, Nature Methods 18 (the sum of the two); Milletari et al. 2016, arXiv 1606.04797
    (squared form).
    """

    kinds = ("mask",)

    def __init__(
        self,
        squared: bool = False,
        batch_dice: bool = False,
        include_background: bool = True,
        dice_weight: float = 1.0,
        cross_entropy_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if min(dice_weight, cross_entropy_weight) < 0 or dice_weight + cross_entropy_weight == 0:
            raise RecipeError(
                "dice_weight and cross_entropy_weight must not be negative, nor both 0", where="objective"
            )
        self.squared, self.batch_dice, self.include_background = squared, batch_dice, include_background
        self.dice_weight, self.cross_entropy_weight = dice_weight, cross_entropy_weight

    def loss(self, outputs: Tensor, batch: TensorDict) -> Tensor:
        self.check_configured()
        log_p = full_precision(outputs).flatten(2).log_softmax(1)
        mask = batch[MASK].flatten(1)
        known = mask >= 0
        label = torch.where(known, mask, 0).unsqueeze(1)
        weight = sample_weights(batch, known.any(1))
        cross_entropy = weighted_mean(-log_p.gather(1, label).squeeze(1), weight.unsqueeze(1) * known)
        counts = known.unsqueeze(1).to(log_p.dtype)
        one_hot = torch.zeros_like(log_p).scatter_(1, label, 1.0) * counts
        start = 0 if self.include_background else 1
        dice = dice_loss(
            (log_p.exp() * counts)[:, start:], one_hot[:, start:], weight.to(log_p), self.squared, self.batch_dice
        )
        return self.cross_entropy_weight * cross_entropy + self.dice_weight * dice
