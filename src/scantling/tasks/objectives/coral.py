"""CORAL: one severity, one learned bias a cut, a binary question at every cut."""

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
from scantling.tasks.objectives.cumulative_link import cuts_from_counts
from scantling.tasks.thresholds import grade_logits, grades_from_scores, lift

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.core.target import Target


class Coral(TargetObjective):
    """Ordinal head: ``P(grade > k) = sigmoid(severity + bias_k)`` with one severity for all cuts.

    The network gives ``(B, 1)``; the ``K - 1`` biases are parameters of this objective and must be in the optimiser
    and in the saved weights. The grade is the number of cuts with a probability of at least one half. ``decode`` gives
    the product of the binary probabilities of the loss, restricted to the K patterns that are in order; its arg-max is
    that grade.

    Source: Cao et al. 2020, arXiv 1901.07884, eq. 4-6. The biases start at the class frequencies where these are known
    (the paper starts at 0), and are sorted before use, so that grades are consistent during training too.
    """

    kinds = ("grade",)

    def __init__(self) -> None:
        super().__init__()
        self.biases = nn.Parameter(torch.empty(0))

    def outputs_for(self, target: Target) -> int:
        return 1

    def configure(self, target: Target, class_counts: Tensor | None = None) -> None:
        super().configure(target, class_counts)
        if len(self.biases) != target.size - 1:
            self.biases = nn.Parameter(-cuts_from_counts(target.size, self.class_counts).to(self.biases.device))

    def loss(self, outputs: Tensor, batch: TensorDict) -> Tensor:
        label, known = label_distribution(batch[LABEL], self.num_classes)
        answers = label.flip(1).cumsum(1).flip(1)[:, 1:]
        questions = one_value(outputs).unsqueeze(1) + self.biases
        losses = F.binary_cross_entropy_with_logits(questions, answers.to(questions.dtype), reduction="none").sum(1)
        return weighted_mean(losses, sample_weights(batch, known))

    def thresholds(self) -> Tensor:
        """The severities ``(K - 1,)`` at which the grade rises."""
        return (-self.biases).sort().values

    def logits(self, outputs: Tensor) -> Tensor:
        return grade_logits(one_value(outputs), self.thresholds())

    def decode(self, outputs: Tensor) -> Tensor:
        severity = one_value(outputs)
        return lift(super().decode(outputs), grades_from_scores(severity, self.thresholds()))

    def score(self, outputs: Tensor) -> Tensor:
        """The expected grade ``(B,)``: the sum of the probabilities of the cuts."""
        return torch.sigmoid(one_value(outputs).unsqueeze(1) + self.biases).sum(1)
