"""What detectors on a network's features share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from scantling.core.anomaly import AnomalyAdapter
from scantling.core.batch import IMAGE
from scantling.core.seams import Inputs
from scantling.nets.backbone import Backbone
from scantling.nets.feature_pyramid import FeaturePyramid

if TYPE_CHECKING:
    from tensordict import TensorDict


class FeatureDetector(AnomalyAdapter):
    """A detector on a pretrained network that stays as it is.

    Args:
        outputs: 2.
        inputs: the images.
        backbone: a timm architecture.
        weights: ``hub`` (published weights), the path of a bundle with the same backbone, or ``none`` (for tests).
        strides: of the feature maps that are looked at, finest first.
    """

    fitted_at_once: ClassVar[bool] = True

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "resnet18",
        weights: str = "hub",
        strides: Sequence[int] = (8, 16),
    ) -> None:
        super().__init__(outputs, inputs)
        self.features = FeaturePyramid(Backbone(backbone, inputs, weights), strides).requires_grad_(False).eval()
        self.depth = sum(self.features.channels)
        self.grid = -(-inputs.size[0] // min(strides)), -(-inputs.size[1] // min(strides))

    def train(self, mode: bool = True) -> FeatureDetector:
        """The features never change, nor do their batch statistics."""
        super().train(mode)
        self.features.eval()
        return self

    def patches(self, batch: TensorDict) -> Tensor:
        """Features ``(B, P, D)`` of all places of the images."""
        found: Tensor = self.features.joined(batch[IMAGE]).float().flatten(2).transpose(1, 2)
        return found
