"""Anomaly scores: how they are learned, which of them count as abnormal, and how rare they are among normal images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from scantling.core.anomaly import ANOMALY_NAMES
from scantling.core.batch import LABEL
from scantling.core.errors import RecipeError
from scantling.tasks.objectives.base import (
    TargetObjective,
    full_precision,
    label_distribution,
    sample_weights,
    weighted_mean,
)
from scantling.tasks.objectives.dice import SMOOTH
from scantling.tasks.temperature import fit_temperature

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.core.target import Target

LARGEST_MARGIN = 8.0
"""Of a held-out score from the threshold, in units of the temperature: float32 probabilities still differ there."""

QUANTILES = 201
"""Scores of normal images are kept as so many evenly spaced quantiles."""


class AnomalyScore(TargetObjective):
    """Cross-entropy of normal against abnormal, with a threshold that follows from normal images.

    The score is the difference of two outputs. :meth:`calibrate` puts the threshold where a chosen share of held-out
    normal images lies below it; an image is called abnormal above it, and exactly then its probability of being
    abnormal is above one half. That probability ranks images as the score does; it knows nothing of how rare the
    abnormal is where the model is used.
    """

    kinds = ("class",)
    threshold: Tensor
    normal_scores: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("normal_scores", torch.full((QUANTILES,), torch.nan))

    def configure(self, target: Target, class_counts: Tensor | None = None) -> None:
        super().configure(target, class_counts)
        if target.names != ANOMALY_NAMES:
            raise RecipeError(
                f"a target of {', '.join(target.names)}",
                where="data.target",
                do=f"use class:{'|'.join(ANOMALY_NAMES)}",
            )

    def loss(self, outputs: Tensor, batch: TensorDict) -> Tensor:
        label, known = label_distribution(batch[LABEL], self.num_classes)
        losses = -(label * full_precision(outputs).log_softmax(1)).sum(1)
        return weighted_mean(losses, sample_weights(batch, known))

    def score(self, outputs: Tensor) -> Tensor:
        """The anomaly score ``(B,)``: the second output less the first."""
        outputs = full_precision(outputs)
        return outputs[:, 1] - outputs[:, 0]

    def decode(self, outputs: Tensor) -> Tensor:
        """Probabilities ``(B, 2)``, normal and abnormal."""
        margin = (self.score(outputs) - self.threshold) / self.temperature
        return torch.stack([torch.sigmoid(-margin), torch.sigmoid(margin)], 1)

    def calibrate(self, normal: Tensor, abnormal: Tensor | None = None, specificity: float = 0.95) -> None:
        """Set threshold, temperature and the quantiles of normal images.

        Args:
            normal: scores of normal images that were not trained on, ``(n,)``.
            abnormal: scores of abnormal ones, for the temperature; left out, the spread of the normal scores serves.
            specificity: share of normal images to be called normal, in (0, 1).
        """
        normal = normal.detach().double().flatten()
        steps = torch.linspace(0, 1, QUANTILES, dtype=torch.float64, device=normal.device)
        self.normal_scores.copy_(torch.quantile(normal, steps))
        self.threshold.fill_(threshold_at(normal, specificity))
        if abnormal is None or not len(abnormal):
            self.temperature = max(float(normal.std(correction=0)), 1e-6)
            return
        scores = torch.cat([normal, abnormal.detach().double().flatten()])
        labels = (torch.arange(len(scores), device=scores.device) >= len(normal)).long()
        fitted = fit_temperature(torch.stack([torch.zeros_like(scores), scores - self.threshold], 1), labels)
        # Scores that part the two sets would ask for a temperature of 0, at which probabilities no longer rank.
        self.temperature = max(fitted, float((scores - self.threshold).abs().max()) / LARGEST_MARGIN, 1e-6)

    def fit_temperature(self, outputs: Tensor, labels: Tensor) -> float:
        """Calibrate with held-out outputs ``(n, 2)`` and labels ``(n,)``; without normal ones nothing changes."""
        scores = self.score(outputs)
        if bool((labels == 0).any()):
            self.calibrate(scores[labels == 0], scores[labels == 1])
        return self.temperature

    def normal_quantile(self, scores: Tensor) -> Tensor:
        """Share of held-out normal images with a lower score, ``(B,)`` in [0, 1]; NaN before calibration."""
        known = self.normal_scores.to(scores)
        if bool(known.isnan().any()):
            return torch.full_like(scores, torch.nan)
        above = torch.searchsorted(known, scores.contiguous()).clamp(1, QUANTILES - 1)
        low, high = known[above - 1], known[above]
        within = ((scores - low) / (high - low).clamp(min=torch.finfo(known.dtype).tiny)).clamp(0, 1)
        return (above - 1 + within) / (QUANTILES - 1)


def threshold_at(normal: Tensor, specificity: float) -> float:
    """The score that a new normal image stays below or at with at least this probability.

    The smallest of n held-out scores with rank ``ceil((n + 1) * specificity)``, or the largest where there are too few.

    Args:
        normal: scores ``(n,)`` of held-out normal images.
        specificity: in (0, 1).

    Source: split conformal prediction, Vovk et al. 2005.

    >>> threshold_at(torch.arange(1.0, 20.0), 0.95)
    19.0
    """
    rank = min(len(normal), math.ceil((len(normal) + 1) * specificity))
    return float(normal.sort().values[rank - 1])


def map_loss(scores: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of every part, plus Dice of the images that have lesions.

    Args:
        scores: logits of parts ``(B, h, w)``.
        mask: ``(B, H, W)``, above 0 on lesions; a part with any pixel of a lesion is a part of it.

    Returns:
        A scalar.
    """
    scores = full_precision(scores)
    lesion = F.adaptive_max_pool2d((mask > 0).to(scores)[:, None], scores.shape[-2:])[:, 0].flatten(1)
    logits = scores.flatten(1)
    present = lesion.amax(1)
    found = logits.sigmoid()
    overlap = (found * lesion).sum(1)
    dice = 1 - (2 * overlap + SMOOTH) / (found.sum(1) + lesion.sum(1) + SMOOTH)
    return F.binary_cross_entropy_with_logits(logits, lesion) + weighted_mean(dice, present)
