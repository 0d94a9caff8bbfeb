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
        weights: of the encoder: ``none`` or ``hub``.
        width: channels of the first level of MONAI's BasicUNet, doubled at every level.
    """

    def __init__(
        self, outputs: int, inputs: Inputs, backbone: str | None = None, weights: str = "none", width: int = 16
    ) -> None:
        super().__init__(outputs, inputs)
        if backbone is None:
            self.net: MonaiUNet | EncoderUNet = MonaiUNet(outputs, inputs, [width * f for f in (1, 2, 4, 8, 16, 1)])
        else:
            self.net = EncoderUNet(outputs, inputs, backbone, weights)

    def forward(self, batch: TensorDict) -> Tensor:
        """Outputs ``(B, outputs, H, W)``."""
        return self.net(batch[IMAGE])
