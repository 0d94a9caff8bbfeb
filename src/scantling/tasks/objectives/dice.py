"""Dice plus cross-entropy for masks: over classes that exclude one another, or over structures that may overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from scantling.core.batch import LABEL, MASK
from scantling.core.errors import RecipeError
from scantling.tasks.objectives.base import full_precision, sample_weights, weighted_mean
from scantling.tasks.objectives.cl_dice import cl_dice_loss
from scantling.tasks.objectives.masks import ExclusiveMasks, OverlappingMasks

if TYPE_CHECKING:
    from tensordict import TensorDict

SMOOTH = 1e-5


def dice_loss(
    probabilities: Tensor, label: Tensor, weight: Tensor, squared: bool = False, batch_dice: bool = False
) -> Tensor:
    """``1 - 2 |P and Y| / (|P| + |Y|)`` of every class, averaged over classes and images.

    Args:
        probabilities: ``(B, K, N)``, 0 at pixels that do not count.
        label: 0 and 1, ``(B, K, N)``, 0 at pixels that do not count.
        weight: of the images ``(B,)``, or of every class in every image ``(B, K)``.
        squared: square the probabilities in the denominator.
        batch_dice: take all images as one, so that a class absent from an image does not cost it.

    Returns:
        A scalar in [0, 1]. Sizes are smoothed by 1e-5 above and below.
    """
    overlap = (probabilities * label).sum(2)
    size = (probabilities**2 if squared else probabilities).sum(2) + label.sum(2)
    weight = weight.unsqueeze(1).expand_as(overlap) if weight.ndim == 1 else weight
    if batch_dice:
        overlap, size = (weight * overlap).sum(0), (weight * size).sum(0)
        weight = (weight.sum(0) > 0).to(overlap)
    return weighted_mean(1 - (2 * overlap + SMOOTH) / (size + SMOOTH), weight)


class DiceCrossEntropy(ExclusiveMasks):
    """Cross-entropy of the pixels plus Dice of the classes; outputs ``(B, K, H, W)``, pixels labelled -1 do not count.

    Args:
        squared: square the probabilities in Dice's denominator.
        batch_dice: one Dice for the whole batch; steadier for classes that are often absent.
        include_background: whether class 0 takes part in Dice.
        dice_weight: share of Dice in the loss, at least 0.
        cross_entropy_weight: share of cross-entropy in the loss, at least 0.
        cl_dice_weight: share of soft clDice in the loss, at least 0: for vessels and other thin structures that must
            stay connected.
        skeleton_steps: erosions in clDice's skeleton, at least half of the widest structure in pixels.

    Source: Isensee et al. 2021, Nature Methods 18 (the sum of the two); Milletari et al. 2016, arXiv 1606.04797
    (squared form); Shit et al. 2021, arXiv 2003.07311 (clDice).
    """

    def __init__(
        self,
        squared: bool = False,
        batch_dice: bool = False,
        include_background: bool = True,
        dice_weight: float = 1.0,
        cross_entropy_weight: float = 1.0,
        cl_dice_weight: float = 0.0,
        skeleton_steps: int = 10,
    ) -> None:
        super().__init__()
        _check_shares(dice_weight, cross_entropy_weight, cl_dice_weight)
        self.squared, self.batch_dice, self.include_background = squared, batch_dice, include_background
        self.dice_weight, self.cross_entropy_weight = dice_weight, cross_entropy_weight
        self.cl_dice_weight, self.skeleton_steps = cl_dice_weight, skeleton_steps

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
        probabilities, weight = log_p.exp() * counts, weight.to(log_p)
        start = 0 if self.include_background else 1
        dice = dice_loss(probabilities[:, start:], one_hot[:, start:], weight, self.squared, self.batch_dice)
        loss = self.cross_entropy_weight * cross_entropy + self.dice_weight * dice
        if not self.cl_dice_weight:
            return loss
        shape = outputs.shape[-2:]
        drawn = [maps[:, 1:].unflatten(2, shape) for maps in (probabilities, one_hot)]
        each = weight.unsqueeze(1).expand(-1, self.num_classes - 1)
        return loss + self.cl_dice_weight * cl_dice_loss(drawn[0], drawn[1], each, self.skeleton_steps)


class DiceBinaryCrossEntropy(OverlappingMasks):
    """Binary cross-entropy plus Dice of structures that may overlap; outputs ``(B, K, H, W)``, one a structure.

    Pixels of -1 do not count. Where the batch has labels ``(B, K)``, a structure whose label is NaN was not drawn in
    that image and does not count there.

    Args:
        threshold: probability from which a pixel belongs to a structure, in (0, 1).
        squared: square the probabilities in Dice's denominator.
        batch_dice: one Dice for the whole batch; steadier for structures that are often absent.
        dice_weight: share of Dice in the loss, at least 0.
        cross_entropy_weight: share of cross-entropy in the loss, at least 0.
        cl_dice_weight: share of soft clDice in the loss, at least 0.
        skeleton_steps: erosions in clDice's skeleton, at least half of the widest structure in pixels.

    Source: Isensee et al. 2021, Nature Methods 18 (region-based training); Shit et al. 2021, arXiv 2003.07311 (clDice).
    """

    def __init__(
        self,
        threshold: float = 0.5,
        squared: bool = False,
        batch_dice: bool = False,
        dice_weight: float = 1.0,
        cross_entropy_weight: float = 1.0,
        cl_dice_weight: float = 0.0,
        skeleton_steps: int = 10,
    ) -> None:
        super().__init__(threshold)
        _check_shares(dice_weight, cross_entropy_weight, cl_dice_weight)
        self.squared, self.batch_dice = squared, batch_dice
        self.dice_weight, self.cross_entropy_weight = dice_weight, cross_entropy_weight
        self.cl_dice_weight, self.skeleton_steps = cl_dice_weight, skeleton_steps

    def loss(self, outputs: Tensor, batch: TensorDict) -> Tensor:
        self.check_configured()
        logits, mask = full_precision(outputs), batch[MASK]
        label = batch.get(LABEL, None)
        asked = torch.ones_like(logits[:, :, 0, 0]) if label is None else label.isfinite().to(logits)
        counts = (mask >= 0).unsqueeze(1) * asked[:, :, None, None]
        truth = self.drawn(mask) * counts
        each = counts.amax((2, 3)) * sample_weights(batch, counts.flatten(1).any(1)).unsqueeze(1).to(logits)
        losses = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        entropy = weighted_mean(losses, each[:, :, None, None] * counts)
        probabilities = logits.sigmoid() * counts
        dice = dice_loss(probabilities.flatten(2), truth.flatten(2), each, self.squared, self.batch_dice)
        loss = self.cross_entropy_weight * entropy + self.dice_weight * dice
        if not self.cl_dice_weight:
            return loss
        return loss + self.cl_dice_weight * cl_dice_loss(probabilities, truth, each, self.skeleton_steps)


def _check_shares(*shares: float) -> None:
    if min(shares) < 0 or sum(shares) == 0:
        raise RecipeError("the weights of a loss must not be negative, nor all 0", where="objective")
