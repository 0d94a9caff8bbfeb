"""Operations that hide a part of an image or light it unevenly."""

from __future__ import annotations

import torch
from torch import Tensor

from scantling.augment.operations.operation import column
from scantling.augment.operations.tone import bytes_of

GREY = 127


def cutout(images: Tensor, sides: Tensor, draws: Tensor) -> Tensor:
    """A grey square whose side is a share of the image's width, its centre anywhere; 0 changes nothing.

    The mask stays as it is: what is hidden is still there.
    """
    height, width = images.shape[-2:]
    down, across = (draws[:, 0] * height).to(images.device), (draws[:, 1] * width).to(images.device)
    half = (sides * (width / 2)).to(images.device)

    def inside(extent: int, centre: Tensor) -> Tensor:
        distance = torch.arange(extent, device=images.device) + 0.5 - centre[:, None]
        return ((distance >= -half[:, None]) & (distance < half[:, None])).to(torch.uint8)

    square = inside(height, down)[:, None, :, None] * inside(width, across)[:, None, None, :]
    return images.mul(1 - square).add_(square.mul_(GREY))


def illuminate(images: Tensor, strengths: Tensor, draws: Tensor) -> Tensor:
    """Multiplies by a smooth field around 1: a slope in any direction, and brighter or darker towards the corners.

    A strength of 0.3 gives factors from 0.7 to 1.3.
    """
    height, width = images.shape[-2:]
    angle, share = column(draws[:, 0], images)[:, 0] * 2 * torch.pi, column(draws[:, 1], images)[:, 0]
    outwards = torch.where(column(draws[:, 2], images)[:, 0] < 0.5, -1.0, 1.0)
    y = torch.linspace(-1, 1, height, device=images.device)[:, None]
    x = torch.linspace(-1, 1, width, device=images.device)[None, :]
    slope = (x * angle.cos() + y * angle.sin()) / 2**0.5
    field = slope * (1 - share) + outwards * (x * x + y * y - 1) * share
    return bytes_of(field[:, None].mul(column(strengths, images)).add_(1).mul(images).round_())
