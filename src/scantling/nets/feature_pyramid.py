"""Feature maps of a backbone at several depths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scantling.core.errors import RecipeError
from scantling.nets.backbone import Backbone


class FeaturePyramid(nn.Module):
    """The last feature map of a backbone at each of several strides.

    Args:
        backbone: the network; its weights stay as they are.
        strides: pixels from one place of a map to the next, of every map wanted.

    Attributes:
        channels: of the maps, in the order of the strides.

    Raises:
        RecipeError: the network has no map at such a stride.
    """

    def __init__(self, backbone: Backbone, strides: Sequence[int]) -> None:
        super().__init__()
        known: Any = getattr(backbone.body, "feature_info", None)
        infos = list(known if isinstance(known, list) else getattr(known, "info", []))
        if not infos or not hasattr(backbone.body, "forward_intermediates"):
            raise RecipeError(f"'{backbone.name}' gives no maps between its layers", do="choose another backbone")
        last = {int(info["reduction"]): number for number, info in enumerate(infos)}
        missing = [stride for stride in strides if stride not in last]
        if missing:
            raise RecipeError(
                f"'{backbone.name}' has no features at a stride of {missing[0]}",
                where="task.adapter",
                do=f"use some of {', '.join(map(str, sorted(last)))}",
            )
        self.backbone = backbone
        self.indices = [last[stride] for stride in strides]
        self.channels = [int(infos[number]["num_chs"]) for number in self.indices]

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The last features before pooling, and the maps ``(B, F, h, w)``, of images in [0, 1]."""
        standard = self.backbone.standardise(images)
        final, maps = self.backbone.body.forward_intermediates(standard, indices=self.indices)
        return final, list(maps)

    def joined(self, images: Tensor) -> Tensor:
        """All maps at the size of the finest, averaged over 3 x 3 neighbours, ``(B, sum of F, h, w)``."""
        maps = [F.avg_pool2d(m, 3, 1, 1) for m in self(images)[1]]
        height, width = max((m.shape[-2:] for m in maps), key=lambda s: s[0] * s[1])
        return torch.cat(
            [F.interpolate(m, size=(height, width), mode="bilinear", align_corners=False) for m in maps], 1
        )


def available_strides(backbone: Backbone, finest: int) -> list[int]:
    """The strides, from ``finest`` on, at which a backbone has feature maps; empty where it tells none."""
    known: Any = getattr(backbone.body, "feature_info", None)
    infos = known if isinstance(known, list) else getattr(known, "info", [])
    return sorted({int(info["reduction"]) for info in infos if int(info["reduction"]) >= finest})
