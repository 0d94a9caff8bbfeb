"""Grades as numbers: the network gives one severity, thresholds cut it into grades."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from scantling.core.batch import LABEL
from scantling.core.errors import RecipeError
from scantling.tasks.objectives.base import (
    TargetObjective,
    label_distribution,
    one_value,
    sample_weights,
    weighted_mean,
)
from scantling.tasks.thresholds import default_thresholds, grade_logits, grades_from_scores, lift

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.core.target import Target


class GradeRegression(TargetObjective):
    """Base of the regression objectives: outputs ``(B, 1)``, no activation, labels as numbers.

    The grade is the number of thresholds at or below the severity (ties go up). ``decode`` spreads it: the log-odds of
    neighbouring grades are ``(severity - threshold) / temperature``, which for the default thresholds is a Gaussian of
    variance ``temperature`` round the severity. Its arg-max is exactly the thresholds' grade, for any thresholds and
    temperature.

    Args:
        thresholds: ``K - 1`` rising cuts; 0.5, 1.5, ... by default. ``scantling.tasks.thresholds.fit_thresholds`` finds
            better ones on validation scores; ``set_thresholds`` puts them in, and the state dict keeps them.

    Source: Huang et al. 2023, arXiv 2110.14160 (loss and thresholds); the probabilities are ours.
    """

    kinds = ("grade",)
    thresholds: Tensor

    def __init__(self, thresholds: list[float] | None = None) -> None:
        super().__init__()
        cuts = torch.tensor([] if thresholds is None else thresholds, dtype=torch.float32)
        self._given = thresholds is not None
        self.register_buffer("thresholds", _rising(cuts))

    def outputs_for(self, target: Target) -> int:
        return 1

    def configure(self, target: Target, class_counts: Tensor | None = None) -> None:
        super().configure(target, class_counts)
        if len(self.thresholds) != target.size - 1:
            if self._given:
                raise RecipeError(f"{len(self.thresholds)} thresholds for {target.size} grades", where="objective")
            self.thresholds = default_thresholds(target.size).to(self.thresholds.device)

    def set_thresholds(self, thresholds: Tensor) -> None:
        """Replace the cuts by fitted ones, ``(K - 1,)``.

        Raises:
            RecipeError: their number is wrong or they fall.
        """
        if len(thresholds) != self.num_classes - 1:
            raise RecipeError(f"{len(thresholds)} thresholds for {self.num_classes} grades", where="objective")
        self.thresholds = _rising(thresholds.detach()).to(self.thresholds)

    def loss(self, outputs: Tensor, batch: TensorDict) -> Tensor:
        label, known = label_distribution(batch[LABEL], self.num_classes)
        severity = self.score(outputs)
        losses = self.distance(severity, label.to(severity) @ torch.arange(self.num_classes).to(severity))
        return weighted_mean(losses, sample_weights(batch, known))

    @abstractmethod
    def distance(self, severity: Tensor, grade: Tensor) -> Tensor:
        """Loss ``(B,)`` of every severity against its grade."""

    def score(self, outputs: Tensor) -> Tensor:
        """The severity ``(B,)`` itself, in grades, not clipped."""
        return one_value(outputs)

    def logits(self, outputs: Tensor) -> Tensor:
        self.check_configured()
        return grade_logits(self.score(outputs), self.thresholds)

    def decode(self, outputs: Tensor) -> Tensor:
        return lift(super().decode(outputs), grades_from_scores(self.score(outputs), self.thresholds))


class MSEGrade(GradeRegression):
    """Mean squared error between severity and grade: the part of the quadratic weighted kappa that a model moves."""

    def distance(self, severity: Tensor, grade: Tensor) -> Tensor:
        return (severity - grade) ** 2


class MAEGrade(GradeRegression):
    """Mean absolute error between severity and grade: aims at the median grade."""

    def distance(self, severity: Tensor, grade: Tensor) -> Tensor:
        return (severity - grade).abs()


class SmoothL1Grade(GradeRegression):
    """Squared error near the grade, absolute error beyond ``beta``: less moved by wrong labels.

    Args:
        thresholds: as in :class:`GradeRegression`.
        beta: where the two meet, in grades, above 0.
    """

    def __init__(self, thresholds: list[float] | None = None, beta: float = 1.0) -> None:
        super().__init__(thresholds)
        if beta <= 0:
            raise RecipeError(f"beta must be above 0, not {beta}", where="objective")
        self.beta = beta

    def distance(self, severity: Tensor, grade: Tensor) -> Tensor:
        return F.smooth_l1_loss(severity, grade, reduction="none", beta=self.beta)


def _rising(thresholds: Tensor) -> Tensor:
    if (thresholds.diff() < 0).any() or not thresholds.isfinite().all():
        raise RecipeError(f"thresholds must be finite and rise, not {thresholds.tolist()}", where="objective")
    return thresholds
