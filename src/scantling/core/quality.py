"""Scorers of image quality: how far an image is from good ones, and the features by which images are grouped."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from scantling.core.anomaly import AnomalyAdapter, two_outputs
from scantling.core.seams import Inputs

if TYPE_CHECKING:
    from tensordict import TensorDict

OUTSTANDING, GRADABLE, UNGRADABLE = "outstanding", "gradable", "ungradable"
GRADES = (UNGRADABLE, GRADABLE, OUTSTANDING)
"""Grades of quality, from 0."""

SMALLEST_SPREAD = 0.1
"""Standard deviations are at least this share of their median: what never changes in good images, such as a feature
that is always off, must not drown all others as soon as it changes a little."""


def spread_of(rows: Tensor, least: float = SMALLEST_SPREAD) -> Tensor:
    """Standard deviation of every column of ``rows (n, D)``, above 0, at least ``least`` times the median one."""
    spread = rows.std(0)
    floor = least * float(spread.median())
    return spread.clamp(min=floor if floor > 0 else 1.0)


class Measured(NamedTuple):
    """What a scorer finds in a batch.

    Args:
        score: ``(B,)``, greater for worse images.
        features: ``(B, D)``, standardised by those of good images.
        parts: scores ``(B, h, w)`` of the parts of each image; None where there are none.
    """

    score: Tensor
    features: Tensor
    parts: Tensor | None = None


class QualityScorer(AnomalyAdapter):
    """A network that learned good images alone, and says how far from them an image is.

    Where the raw score of a bad image may be lower than that of a good one, it is used on both sides: as its distance
    from the median of good images, ``middle``, which :meth:`fit` finds.
    """

    middle: Tensor
    two_sided: Tensor

    def __init__(self, outputs: int, inputs: Inputs) -> None:
        super().__init__(outputs, inputs)
        self.register_buffer("middle", torch.zeros(()))
        self.register_buffer("two_sided", torch.zeros(()))

    @abstractmethod
    def raw(self, batch: TensorDict) -> Measured:
        """Score before it is taken on both sides, features and parts."""

    def measured(self, batch: TensorDict) -> Measured:
        """Score, features and parts of a batch whose images are float in [0, 1]."""
        found = self.raw(batch)
        score = torch.where(self.two_sided > 0, (found.score - self.middle).abs(), found.score)
        return Measured(score, found.features, found.parts)

    def outputs_and_map(self, batch: TensorDict) -> tuple[Tensor, Tensor | None]:
        """Outputs ``(B, 2)`` that differ by the score, and the scores of parts."""
        found = self.measured(batch)
        return two_outputs(found.score), found.parts

    def use_both_sides(self) -> None:
        """From now on the score is the distance of the raw one from the median of good images."""
        self.two_sided.fill_(1.0)


class SeverityScorer(QualityScorer):
    """A scorer that learns from copies of good images, each with the same fault at several severities."""

    @abstractmethod
    def severity_loss(self, images: Tensor, severity: Tensor) -> Tensor:
        """Scalar loss.

        Args:
            images: ``(1 + steps, B, C, H, W)``, good ones first, then their copies, ever worse.
            severity: of the copies, ``(steps, B)`` in (0, 1].
        """
