"""Adapters for masks: every parameter of a U-Net learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from scantling.core.batch import IMAGE
from scantling.core.seams import Adapter, Inputs
from scantling.nets.unet import EncoderUNet, MonaiUNet

if TYPE_CHECKING:
    from tensordict import TensorDict


class UNet(Adapter):
    """A U-Net: MONAI's, or one with a timm encoder.

    Args:
        outputs: classes of the mask.
        inputs: the images.
        backbone: a timm architecture as the encoder; left out, MONAI's BasicUNet.
        weights: of the encoder: ``none``, ``hub``, or the path of a bundle with the same backbone.
        width: channels of the first level of MONAI's BasicUNet, doubled at every level.

    Attributes:
        features: width of :meth:`encoded`.
    """

    def __init__(
        self, outputs: int, inputs: Inputs, backbone: str | None = None, weights: str = "none", width: int = 16
    ) -> None:
        super().__init__(outputs, inputs)
        if backbone is None:
            self.net: MonaiUNet | EncoderUNet = MonaiUNet(outputs, inputs, [width * f for f in (1, 2, 4, 8, 16, 1)])
        else:
            self.net = EncoderUNet(outputs, inputs, backbone, weights)
        self.features = self.net.features

    def forward(self, batch: TensorDict) -> Tensor:
        """Outputs ``(B, outputs, H, W)``."""
        return self.net(batch[IMAGE])

    def encoded(self, batch: TensorDict) -> Tensor:
        """Global average of the encoder's last map, ``(B, features)``: what an image is, not where."""
        return self.net.encoded(batch[IMAGE])

    def outputs_and_encoded(self, batch: TensorDict) -> tuple[Tensor, Tensor]:
        """Outputs ``(B, outputs, H, W)`` and features ``(B, features)`` from one pass of the encoder."""
        return self.net.both(batch[IMAGE])
