"""Cumulative link (proportional odds): one severity, learned cuts in order, the exact likelihood of a grade."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scantling.core.batch import LABEL
from scantling.tasks.objectives.base import (
    TargetObjective,
    label_distribution,
    one_value,
    sample_weights,
    weighted_mean,
)

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.core.target import Target

SMALLEST_GAP = 1e-3


def cuts_from_counts(num_classes: int, class_counts: Tensor | None) -> Tensor:
    """Rising cuts ``(K - 1,)`` at which a severity of 0 has the grades' frequencies; one apart without counts.

    >>> cuts_from_counts(3, torch.tensor([8.0, 1.0, 1.0])).sigmoid()
    tensor([0.8000, 0.9000])
    >>> cuts_from_counts(4, None)
    tensor([-1.,  0.,  1.])
    """
    if class_counts is None:
        return torch.arange(num_classes - 1, dtype=torch.float32) - (num_classes - 2) / 2
    counts = class_counts.clamp(min=0.5)
    return torch.logit((counts.cumsum(0) / counts.sum())[:-1])


def cumulative_link_log_probabilities(severity: Tensor, cuts: Tensor) -> Tensor:
    """``log(sigmoid(cut_k - severity) - sigmoid(cut_(k-1) - severity))``, exact in both tails.

    Uses ``sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a))``.

    Args:
        severity: ``(B,)``.
        cuts: ``(K - 1,)``, strictly rising.

    Returns:
        Log-probabilities ``(B, K)``; rows of their exponentials sum to 1.
    """
    below = F.pad(F.logsigmoid(cuts - severity.unsqueeze(1)), (0, 1))
    above = F.pad(F.logsigmoid(severity.unsqueeze(1) - cuts), (1, 0))
    return below + above + F.pad(torch.log(-torch.expm1(-cuts.diff())), (1, 1))


class CumulativeLink(TargetObjective):
    """Ordinal head: ``P(grade <= k) = sigmoid(cut_k - severity)``, trained by the likelihood of the grade.

    The network gives ``(B, 1)``; the cuts are parameters of this objective and must be in the optimiser and in the
    saved weights. They stay in order by construction. The prediction is the most likely grade.

    Source: McCullagh 1980, Regression Models for Ordinal Data, section 2.2 (proportional odds).
    """

    kinds = ("grade",)

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.zeros(1))
        self.gaps = nn.Parameter(torch.empty(0))
        self._ready = False

    def outputs_for(self, target: Target) -> int:
        return 1

    def configure(self, target: Target, class_counts: Tensor | None = None) -> None:
        super().configure(target, class_counts)
        if not self._ready or len(self.gaps) != target.size - 2:
            cuts = cuts_from_counts(target.size, self.class_counts).to(self.first.device)
            # The inverse of softplus, so that ``cuts()`` gives these cuts back.
            gaps = torch.log(torch.expm1((cuts.diff() - SMALLEST_GAP).clamp(min=SMALLEST_GAP)))
            self.first, self.gaps = nn.Parameter(cuts[:1].clone()), nn.Parameter(gaps)
            self._ready = True

    def cuts(self) -> Tensor:
        """The severities ``(K - 1,)``, strictly rising, at which half of the images have a higher grade."""
        return torch.cat([self.first, self.first + (F.softplus(self.gaps) + SMALLEST_GAP).cumsum(0)])

    def logits(self, outputs: Tensor) -> Tensor:
        self.check_configured()
        return cumulative_link_log_probabilities(one_value(outputs), self.cuts())

    def loss(self, outputs: Tensor, batch: TensorDict) -> Tensor:
        label, known = label_distribution(batch[LABEL], self.num_classes)
        losses = -(torch.where(label > 0, self.logits(outputs), 0) * label).sum(1)
        return weighted_mean(losses, sample_weights(batch, known))

    def score(self, outputs: Tensor) -> Tensor:
        """The expected grade ``(B,)``: the sum of ``P(grade > k)`` over the cuts."""
        return torch.sigmoid(one_value(outputs).unsqueeze(1) - self.cuts()).sum(1)
