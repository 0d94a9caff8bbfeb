"""What scorers of quality on a network's features share: maps of several scales, pooled, standardised."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.core.batch import IMAGE
from scantling.core.errors import TrainingError
from scantling.core.quality import QualityScorer, spread_of
from scantling.core.seams import Inputs
from scantling.nets.backbone import Backbone
from scantling.nets.feature_pyramid import FeaturePyramid
from scantling.nets.pooled_scales import pooled_scales

if TYPE_CHECKING:
    from tensordict import TensorDict

MOST_ROWS = 8192
"""Good images that statistics are taken from, at most: the first ones of a pass."""


class ScaleScorer(QualityScorer):
    """A scorer on a pretrained network that stays as it is.

    Args:
        outputs: 2.
        inputs: the images.
        backbone: a timm architecture.
        weights: ``hub`` (published weights), the path of a bundle with the same backbone, or ``none`` (for tests).
        strides: of the feature maps that are pooled.
    """

    usual: Tensor
    spread: Tensor

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "resnet18",
        weights: str = "hub",
        strides: Sequence[int] = (4, 8, 16),
    ) -> None:
        super().__init__(outputs, inputs)
        self.scales = FeaturePyramid(Backbone(backbone, inputs, weights), strides).requires_grad_(False).eval()
        self.depth = 2 * sum(self.scales.channels)
        self.register_buffer("usual", torch.zeros(self.depth))
        self.register_buffer("spread", torch.ones(self.depth))

    def train(self, mode: bool = True) -> ScaleScorer:
        """The features never change, nor do their batch statistics."""
        super().train(mode)
        self.scales.eval()
        return self

    @torch.no_grad()
    def pooled(self, images: Tensor) -> Tensor:
        """Mean and standard deviation of every scale ``(B, D)``, of images float in [0, 1]."""
        return pooled_scales(self.scales(images)[1])

    def standardised(self, pooled: Tensor) -> Tensor:
        """Pooled features less the mean of good images, over their standard deviation."""
        return (pooled - self.usual) / self.spread

    def _gather(self, batches: Iterable[TensorDict], most: int = MOST_ROWS) -> Tensor:
        """Pooled features ``(n, D)`` of the batches, of the first ones where there are many."""
        rows: list[Tensor] = []
        count = 0
        for batch in batches:
            rows.append(self.pooled(batch[IMAGE]))
            count += len(batch)
            if count >= most:
                break
        return torch.cat(rows) if rows else torch.empty(0, self.depth)

    def _settle(self, pooled: Tensor) -> Tensor:
        """Take mean and standard deviation from pooled features of good images ``(n, D)``; these, standardised.

        Raises:
            TrainingError: fewer than two images.
        """
        if len(pooled) < 2:
            raise TrainingError(
                f"{len(pooled)} good images", where="training", do="give at least two, better a hundred"
            )
        self.usual.copy_(pooled.mean(0))
        self.spread.copy_(spread_of(pooled))
        return self.standardised(pooled)
