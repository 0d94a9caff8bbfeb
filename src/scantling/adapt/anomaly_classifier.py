"""A classifier of normal against abnormal with a second head that says where."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scantling.core.anomaly import AnomalyAdapter
from scantling.core.batch import IMAGE
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs
from scantling.nets.backbone import Backbone
from scantling.nets.feature_pyramid import FeaturePyramid, available_strides

if TYPE_CHECKING:
    from tensordict import TensorDict


class AnomalyClassifier(AnomalyAdapter):
    """A backbone with a linear head and a small pyramid head for the heat map; all of it learns.

    Args:
        outputs: 2.
        inputs: the images the network is built for.
        backbone: a timm architecture (``vgg16``, ``resnet18``, ``convnext_tiny`` ...).
        weights: ``none``, ``hub`` (published weights), or the path of a bundle with the same backbone.
        dropout: dropout before the head, in [0, 1).
        map_stride: pixels from one value of the heat map to the next; the finest features that it is made of. 0 for a
            classifier alone.
        map_width: channels of the heat map's head.

    Raises:
        RecipeError: a backbone without features at that stride.
    """

    needs_abnormal: ClassVar[bool] = True
    laterals: nn.ModuleList
    where: nn.Sequential

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "vgg16",
        weights: str = "hub",
        dropout: float = 0.0,
        map_stride: int = 8,
        map_width: int = 64,
    ) -> None:
        super().__init__(outputs, inputs)
        self.backbone = Backbone(backbone, inputs, weights)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.backbone.features, outputs)
        nn.init.trunc_normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        self.pyramid: FeaturePyramid | None = None
        if map_stride:
            strides = available_strides(self.backbone, map_stride)
            if not strides:
                raise RecipeError(
                    f"'{backbone}' has no features at a stride of {map_stride}",
                    where="task.adapter.map_stride",
                    do="use 0 for no heat map",
                )
            # The backbone is registered once, under its own name.
            object.__setattr__(self, "pyramid", FeaturePyramid(self.backbone, strides))
            assert self.pyramid is not None
            self.laterals = nn.ModuleList(nn.Conv2d(c, map_width, 1) for c in self.pyramid.channels)
            self.where = nn.Sequential(
                nn.Conv2d(map_width, map_width, 3, padding=1), nn.ReLU(), nn.Conv2d(map_width, 1, 1)
            )
            nn.init.constant_(self.where[-1].bias, -4.0)

    def outputs_and_map(self, batch: TensorDict) -> tuple[Tensor, Tensor | None]:
        """Outputs ``(B, 2)`` and logits ``(B, h, w)`` of the heat map."""
        if self.pyramid is None:
            return self.head(self.dropout(self.backbone(batch[IMAGE]))), None
        final, maps = self.pyramid(batch[IMAGE])
        pooled = self.backbone.body.forward_head(final)
        finest = maps[0].shape[-2:]
        merged = torch.stack(
            [
                F.interpolate(lateral(features), size=finest, mode="bilinear", align_corners=False)
                for lateral, features in zip(self.laterals, maps, strict=True)
            ]
        ).sum(0)
        return self.head(self.dropout(pooled)), self.where(merged.relu())[:, 0]

    def saliency_map(self, batch: TensorDict) -> tuple[Tensor, Tensor]:
        """Last feature map ``(B, F, h, w)`` and the outputs that follow from it."""
        features, pooled = self.backbone.tapped(batch[IMAGE])
        return features, self.head(pooled)
