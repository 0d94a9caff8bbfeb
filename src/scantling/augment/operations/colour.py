"""Operations between the channels of a pixel. Images of one channel stay as they are."""

from __future__ import annotations

import torch
from torch import Tensor

from scantling.augment.colour import shift_hue
from scantling.augment.operations.operation import column
from scantling.augment.operations.tone import bytes_of

_RED, _GREEN, _BLUE, _HALF = 19595, 38470, 7471, 32768
"""Weights of the grey value, and what rounds it, in 65536ths, as in Pillow."""


def saturate(images: Tensor, factors: Tensor, draws: Tensor) -> Tensor:
    """Multiplies distances from each pixel's grey value: 0 gives grey, 1 changes nothing."""
    if images.shape[1] != 3:
        return images
    pixels = images.float()
    red, green, blue = pixels.unbind(1)
    # Whole numbers below 2**24: exact in float32.
    grey = torch.mul(red, _RED).add_(green, alpha=_GREEN).add_(blue, alpha=_BLUE).add_(_HALF).mul_(1 / 65536).floor_()
    middle = grey[:, None]
    return bytes_of(torch.addcmul(middle, pixels.sub_(middle), column(factors, images)))


def hue(images: Tensor, turns: Tensor, draws: Tensor) -> Tensor:
    """Turns the colour circle by a share of a full turn."""
    if images.shape[1] != 3:
        return images
    turned = shift_hue(images.float().div_(255), turns.to(images.device, torch.float32))
    return bytes_of(turned.mul_(255).round_())
