"""Networks that give a map as large as the image: MONAI's U-Net, and a U-Net decoder on any timm encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scantling.core.seams import Inputs
from scantling.nets.backbone import Standardise, create


class MonaiUNet(nn.Module):
    """MONAI's ``BasicUNet`` in two dimensions.

    Args:
        outputs: channels of the result.
        inputs: the images; sides of any length (they are padded to a multiple of 16).
        widths: six channel counts: four levels, the deepest one, and the last layer.
    """

    def __init__(self, outputs: int, inputs: Inputs, widths: Sequence[int] = (16, 32, 64, 128, 256, 16)) -> None:
        super().__init__()
        from monai.networks.nets import BasicUNet

        self.standardise = Standardise(inputs)
        self.body = BasicUNet(2, inputs.channels, outputs, features=tuple(widths), norm=("instance", {"affine": True}))

    def forward(self, images: Tensor) -> Tensor:
        """Outputs ``(B, outputs, H, W)`` of images in [0, 1]."""
        return _padded(self.body, self.standardise(images), 16)


class EncoderUNet(nn.Module):
    """A U-Net whose encoder is a timm network.

    Args:
        outputs: channels of the result.
        inputs: the images.
        backbone: a timm architecture that gives feature pyramids (ResNet, ConvNeXt, EfficientNet ...).
        weights: ``none`` or ``hub``.
        widths: channels of the decoder's levels, deepest first.
    """

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str,
        weights: str = "none",
        widths: Sequence[int] = (128, 64, 32, 16),
    ) -> None:
        super().__init__()
        self.standardise = Standardise(inputs)
        self.encoder = create(backbone, inputs, pretrained=weights == "hub", features_only=True)
        pyramid: Any = self.encoder.feature_info
        channels = pyramid.channels()[::-1]
        self.reduction: int = max(pyramid.reduction())
        widths = [*widths, *([widths[-1]] * len(channels))][: len(channels) - 1]
        skips = channels[1:]
        incoming = [channels[0], *widths[:-1]]
        self.levels = nn.ModuleList(_block(i + s, w) for i, s, w in zip(incoming, skips, widths, strict=True))
        self.last = _block(widths[-1] + inputs.channels, widths[-1])
        self.head = nn.Conv2d(widths[-1], outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs ``(B, outputs, H, W)`` of images in [0, 1]."""
        return _padded(self._forward, self.standardise(images), self.reduction)

    def _forward(self, images: Tensor) -> Tensor:
        deepest, *skips = self.encoder(images)[::-1]
        x = deepest
        for level, skip in zip(self.levels, skips, strict=True):
            x = level(torch.cat([_resize(x, skip), skip], dim=1))
        return self.head(self.last(torch.cat([_resize(x, images), images], dim=1)))


def _block(incoming: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (incoming, width):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.InstanceNorm2d(width, affine=True),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def _padded(body: Callable[[Tensor], Tensor], images: Tensor, multiple: int) -> Tensor:
    """Run a network that needs sides of a multiple of ``multiple``, and crop its result back."""
    height, width = images.shape[-2:]
    down, right = -height % multiple, -width % multiple
    if not (down or right):
        return body(images)
    return body(F.pad(images, (0, right, 0, down), mode="replicate"))[..., :height, :width]
