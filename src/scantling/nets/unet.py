"""Networks that give a map as large as the image: MONAI's U-Net, and a U-Net decoder on any timm encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scantling.core.seams import Inputs
from scantling.nets.backbone import Standardise, create
from scantling.nets.frozen import bundle_backbone, fitted


class EncoderDecoder(nn.Module, ABC):
    """An encoder that narrows an image to maps, and a decoder that widens them to the image again.

    Attributes:
        multiple: sides of the images are padded to a multiple of it, and the result is cropped back.
        features: channels of the encoder's last map.
    """

    multiple: int
    features: int

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.standardise = Standardise(inputs)

    @abstractmethod
    def encode(self, images: Tensor) -> list[Tensor]:
        """The encoder's maps of standardised images, finest first, deepest last."""

    @abstractmethod
    def decode(self, images: Tensor, maps: list[Tensor]) -> Tensor:
        """Outputs ``(B, outputs, H, W)`` from the standardised images and the encoder's maps of them."""

    def forward(self, images: Tensor) -> Tensor:
        """Outputs ``(B, outputs, H, W)`` of images in [0, 1]."""
        return self.both(images)[0]

    def encoded(self, images: Tensor) -> Tensor:
        """The encoder's last map, averaged: ``(B, features)``; the decoder is not computed."""
        return self.encode(self._padded(images))[-1].mean((2, 3))

    def both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs as of :meth:`forward` and features as of :meth:`encoded`, from one pass of the encoder."""
        height, width = images.shape[-2:]
        padded = self._padded(images)
        maps = self.encode(padded)
        return self.decode(padded, maps)[..., :height, :width], maps[-1].mean((2, 3))

    def _padded(self, images: Tensor) -> Tensor:
        images = self.standardise(images)
        down, right = (-side % self.multiple for side in images.shape[-2:])
        return F.pad(images, (0, right, 0, down), mode="replicate") if down or right else images


class MonaiUNet(EncoderDecoder):
    """MONAI's ``BasicUNet`` in two dimensions.

    Args:
        outputs: channels of the result.
        inputs: the images; sides of any length (they are padded to a multiple of 16).
        widths: six channel counts: four levels, the deepest one, and the last layer.
    """

    multiple = 16

    def __init__(self, outputs: int, inputs: Inputs, widths: Sequence[int] = (16, 32, 64, 128, 256, 16)) -> None:
        super().__init__(inputs)
        from monai.networks.nets import BasicUNet

        self.features = widths[4]
        self.body = BasicUNet(2, inputs.channels, outputs, features=tuple(widths), norm=("instance", {"affine": True}))

    def encode(self, images: Tensor) -> list[Tensor]:
        body = self.body
        maps = [body.conv_0(images)]
        for down in (body.down_1, body.down_2, body.down_3, body.down_4):
            maps.append(down(maps[-1]))
        return maps

    def decode(self, images: Tensor, maps: list[Tensor]) -> Tensor:
        body, x = self.body, maps[-1]
        ups = (body.upcat_4, body.upcat_3, body.upcat_2, body.upcat_1)
        for up, skip in zip(ups, maps[-2::-1], strict=True):
            x = up(x, skip)
        return body.final_conv(x)


class EncoderUNet(EncoderDecoder):
    """A U-Net whose encoder is a timm network.

    Args:
        outputs: channels of the result.
        inputs: the images.
        backbone: a timm architecture that gives feature pyramids (ResNet, ConvNeXt, EfficientNet, MobileNet ...).
        weights: ``none``, ``hub``, or the path of a bundle whose backbone has the same architecture.
        widths: channels of the decoder's levels, deepest first.

    Raises:
        RecipeError: an unknown architecture, or hub weights that cannot be fetched.
        BundleError: the bundle holds another architecture.
    """

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str,
        weights: str = "none",
        widths: Sequence[int] = (128, 64, 32, 16),
    ) -> None:
        super().__init__(inputs)
        self.encoder = create(backbone, inputs, pretrained=weights == "hub", features_only=True)
        if weights not in {"none", "hub"}:
            load_encoder(self.encoder, weights)
        pyramid: Any = self.encoder.feature_info
        channels = pyramid.channels()[::-1]
        self.features, self.multiple = channels[0], max(pyramid.reduction())
        widths = [*widths, *([widths[-1]] * len(channels))][: len(channels) - 1]
        skips = channels[1:]
        incoming = [channels[0], *widths[:-1]]
        self.levels = nn.ModuleList(_block(i + s, w) for i, s, w in zip(incoming, skips, widths, strict=True))
        self.last = _block(widths[-1] + inputs.channels, widths[-1])
        self.head = nn.Conv2d(widths[-1], outputs, 1)

    def encode(self, images: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.encoder(images)
        return maps

    def decode(self, images: Tensor, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        for level, skip in zip(self.levels, maps[-2::-1], strict=True):
            x = level(torch.cat([_resize(x, skip), skip], dim=1))
        return self.head(self.last(torch.cat([_resize(x, images), images], dim=1)))


def load_encoder(encoder: nn.Module, path: str) -> None:
    """Copy the backbone of the bundle at ``path`` into a network made by timm with ``features_only``.

    Such a network names the children of a stage ``stages_0`` where the whole one says ``stages.0``, or holds the whole
    one under ``model``.

    Raises:
        BundleError: no bundle there, or its backbone has other tensors.
    """
    state, origin = bundle_backbone(path)
    flat = {name for name, _ in encoder.named_children()}

    def renamed(name: str) -> str:
        if flat == {"model"}:
            return f"model.{name}"
        first, _, rest = name.partition(".")
        joined = f"{first}_{rest.partition('.')[0]}"
        return f"{joined}.{rest.partition('.')[2]}" if first not in flat and joined in flat else name

    encoder.load_state_dict(fitted({renamed(name): tensor for name, tensor in state.items()}, encoder, origin))


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
