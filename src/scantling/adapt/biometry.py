"""A U-Net that also says which plane it sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from scantling.core.batch import IMAGE
from scantling.core.seams import Adapter, Inputs
from scantling.nets.plain_unet import Norm, PlainUNet
from scantling.nets.unet import EncoderUNet

if TYPE_CHECKING:
    from tensordict import TensorDict

_FAINTEST = 1e-3
"""Least standard deviation of an image in [0, 1]: a black one stays finite."""


class BiometryUNet(Adapter):
    """A mask for every pixel, and from the deepest level, averaged over space, a value for every plane.

    Args:
        outputs: 1 and the number of planes.
        inputs: the images.
        base: channels of the first level, doubled at every level.
        depth: poolings, from 1.
        norm: after every convolution: batch, instance, or none.
        backbone: a timm architecture as the encoder; left out, the plain U-Net.
        weights: of that encoder: ``none``, ``hub``, or the path of a bundle with the same backbone.
        standardise: take from every image its own mean and divide by its own standard deviation.

    Source: Qazi et al. 2023, arXiv 2311.09607, figure 1 (five levels, two convolutions each, a fully connected layer at
    the bottleneck). Widths, norm and pooling are not told there.
    """

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        base: int = 64,
        depth: int = 4,
        norm: Norm = "batch",
        backbone: str | None = None,
        weights: str = "none",
        standardise: bool = True,
    ) -> None:
        super().__init__(outputs, inputs)
        self.standardise = standardise
        if backbone is None:
            self.net: PlainUNet | EncoderUNet = PlainUNet(1, inputs, base, depth, norm)
        else:
            self.net = EncoderUNet(1, inputs, backbone, weights)
        self.head = nn.Linear(self.net.features, outputs - 1)

    def forward(self, batch: TensorDict) -> Tensor:
        """Outputs ``(B, 1 + K, H, W)``: the mask's logit, and the logits of the planes, the same everywhere."""
        images = batch[IMAGE]
        if self.standardise:
            spread, mean = torch.std_mean(images, dim=(1, 2, 3), keepdim=True, correction=0)
            images = (images - mean) / spread.clamp(min=_FAINTEST)
        mask, features = self.net.both(images)
        planes: Tensor = self.head(features)
        return torch.cat([mask, planes[:, :, None, None].expand(-1, -1, *mask.shape[2:])], dim=1)
