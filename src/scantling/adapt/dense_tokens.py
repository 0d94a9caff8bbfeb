"""The plainest way from a vision transformer to masks: one linear layer on every token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from scantling.core.batch import IMAGE
from scantling.core.seams import Adapter, Inputs
from scantling.nets.backbone import Backbone

if TYPE_CHECKING:
    from tensordict import TensorDict


class DenseTokens(Adapter):
    """A backbone and a linear layer on its last feature map, enlarged to the image; every parameter learns.

    The masks are coarse: one value a token, or a cell of the map. It serves to teach a backbone what is where, so that
    other recipes begin with it, rather than to draw borders.

    Args:
        outputs: classes of the mask.
        inputs: the images.
        backbone: a timm architecture.
        weights: ``none``, ``hub``, or the path of a bundle with the same backbone.

    Source: the linear decoder of Strudel et al. 2021, arXiv 2105.05633.
    """

    def __init__(self, outputs: int, inputs: Inputs, backbone: str, weights: str = "none") -> None:
        super().__init__(outputs, inputs)
        self.backbone = Backbone(backbone, inputs, weights)
        self.head = nn.Conv2d(self.backbone.body.num_features, outputs, 1)
        nn.init.trunc_normal_(self.head.weight, std=0.01)
        if self.head.bias is not None:
            nn.init.zeros_(self.head.bias)

    def forward(self, batch: TensorDict) -> Tensor:
        """Outputs ``(B, outputs, H, W)``."""
        images = batch[IMAGE]
        cells = self.head(self.backbone.feature_map(images))
        return F.interpolate(cells, images.shape[-2:], mode="bilinear", align_corners=False)
