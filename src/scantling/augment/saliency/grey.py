"""Grey images, as saliency detectors look at them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the grey value. Source: ITU-R BT.601."""


def grey(images: Tensor) -> Tensor:
    """Grey images ``(B, 1, H, W)`` in [0, 1] from colour or grey ones ``(B, C, H, W)`` in [0, 1]."""
    if images.shape[1] != len(LUMA):
        return images.mean(1, keepdim=True)
    red, green, blue = images.unbind(1)
    return torch.add(red * LUMA[0], green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2]).unsqueeze(1)


def reduced(images: Tensor, longest: int) -> Tensor:
    """Images whose longer side has at most so many pixels; smaller ones are left as they are.

    >>> reduced(torch.rand(1, 3, 100, 200), 50).shape
    torch.Size([1, 3, 25, 50])
    """
    height, width = images.shape[-2:]
    if max(height, width) <= longest:
        return images
    scale = longest / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return F.interpolate(images, size, mode="bilinear", antialias=True)


def enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps ``(B, 1, h, w)`` at another size, bilinear."""
    return maps if maps.shape[-2:] == size else F.interpolate(maps, size, mode="bilinear")
