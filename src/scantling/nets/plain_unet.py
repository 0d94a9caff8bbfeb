"""The U-Net as it was first drawn: two convolutions a level, poolings, transposed convolutions, concatenated skips."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs
from scantling.nets.unet import EncoderDecoder

Norm = Literal["batch", "instance", "none"]


class PlainUNet(EncoderDecoder):
    """Levels of two 3 x 3 convolutions each, 2 x 2 max pooling on the way down, 2 x 2 transposed convolutions up.

    With one channel in, one out, base 64, depth 4 and no norm it has 31,030,593 parameters.

    Args:
        outputs: channels of the result.
        inputs: the images; sides of any length (they are padded to a multiple of ``2 ** depth``).
        base: channels of the first level, doubled at every level.
        depth: poolings, from 1.
        norm: after every 3 x 3 convolution, which then has no bias: batch, instance, or none.

    Raises:
        RecipeError: no channel, no pooling, or an unknown norm.

    Source: Ronneberger et al. 2015, arXiv 1505.04597; padded convolutions, so that the map is as large as the image.
    """

    def __init__(self, outputs: int, inputs: Inputs, base: int = 64, depth: int = 4, norm: Norm = "batch") -> None:
        super().__init__(inputs)
        if base < 1 or depth < 1 or norm not in get_args(Norm):
            what = f"base {base}, depth {depth}, norm '{norm}'"
            raise RecipeError(what, where="PlainUNet", do=f"use 1 or more, and one of {', '.join(get_args(Norm))}")
        widths = [base * 2**level for level in range(depth + 1)]
        self.multiple, self.features = 2**depth, widths[-1]
        incoming = [inputs.channels, *widths[:-1]]
        self.down = nn.ModuleList(_level(i, w, norm) for i, w in zip(incoming, widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        shallow = widths[-2::-1]
        self.widen = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in shallow)
        self.up = nn.ModuleList(_level(2 * w, w, norm) for w in shallow)
        self.head = nn.Conv2d(base, outputs, 1)

    def encode(self, images: Tensor) -> list[Tensor]:
        maps = [self.down[0](images)]
        for level in self.down[1:]:
            maps.append(level(self.pool(maps[-1])))
        return maps

    def decode(self, images: Tensor, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        for widen, level, skip in zip(self.widen, self.up, maps[-2::-1], strict=True):
            x = level(torch.cat([skip, widen(x)], dim=1))
        return self.head(x)


def _level(incoming: int, width: int, norm: Norm) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (incoming, width):
        layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=norm == "none"))
        if norm != "none":
            layers.append(nn.BatchNorm2d(width) if norm == "batch" else nn.InstanceNorm2d(width, affine=True))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
