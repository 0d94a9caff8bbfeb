"""What makes an image worse, as functions of whole batches: one a kind, with a severity for every image.

Each takes images ``(B, C, H, W)`` in [0, 1], severities ``(B,)`` in [0, 1] and draws ``(B, DRAWS)`` uniform in [0, 1),
and gives images of the same shape in [0, 1]. With the severity 0 an image stays as it is, to the bit; the same draws
with another severity are the same fault, weaker or stronger. Lengths are shares of the image's shorter side. What is
added to an image is added inside its lit field alone, so that black borders stay black.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from scantling.assess.quality.grain import grain

DRAWS = 24
"""Uniform numbers that a degradation is drawn from."""

_STREAKS = 6
_LIT = 0.03
_BLUR = 0.022
_SHIFT = 0.45


def blur(images: Tensor, severity: Tensor, draws: Tensor) -> Tensor:
    """A Gaussian blur with a standard deviation of up to 2.2 % of the side."""
    widest = _BLUR * min(images.shape[-2:])
    return _kept(images, severity, gaussian(images, severity * (0.6 + 0.4 * draws[:, 0]) * widest))


def low_signal(images: Tensor, severity: Tensor, draws: Tensor) -> Tensor:
    """Less light, of which up to 85 % is lost, and more noise of the detector."""
    light = images * (1 - (0.6 + 0.25 * draws[:, 0]) * severity).view(-1, 1, 1, 1)
    noise = grain(draws[:, 1:3], _size(images)) * (0.06 * severity).view(-1, 1, 1, 1)
    return _kept(images, severity, light + noise * lit(images))


def motion(images: Tensor, severity: Tensor, draws: Tensor) -> Tensor:
    """Streaks across the image, bright or dark, up to six of them."""
    height = images.shape[-2]
    row = torch.arange(height, device=images.device).view(1, 1, -1)
    centre, thick, sign = (draws[:, k : k + _STREAKS, None] for k in (0, _STREAKS, 2 * _STREAKS))
    there = severity[:, None, None] > (torch.arange(_STREAKS, device=images.device) / _STREAKS).view(1, -1, 1) * 0.8
    gap = (row - centre * height) / ((0.003 + 0.009 * thick) * height)
    strength = (0.15 + 0.6 * severity[:, None, None]) * torch.where(sign < 0.7, 1.0, -1.0) * there
    profile = (torch.exp(-gap.square()) * strength).sum(1)[:, None, :, None] * severity.clamp(max=0.2).mul(5)[
        :, None, None, None
    ]
    return _kept(images, severity, images + profile * lit(images))


def uneven_light(images: Tensor, severity: Tensor, draws: Tensor) -> Tensor:
    """Light that falls off to a side or in a spot, by up to 90 %, as through a lens out of place."""
    y, x = _plane(images)
    turn = 2 * math.pi * draws[:, 0].view(-1, 1, 1)
    slope = turn.cos() * x + turn.sin() * y
    side = torch.sigmoid(5 * (slope - draws[:, 1].view(-1, 1, 1) + 0.3))
    middle_x, middle_y = (1.4 * draws[:, k].view(-1, 1, 1) - 0.7 for k in (2, 3))
    spot = torch.exp(-((x - middle_x).square() + (y - middle_y).square()) / (0.15 + 0.5 * draws[:, 4].view(-1, 1, 1)))
    dark = torch.where(draws[:, 5].view(-1, 1, 1) < 0.6, side, spot)
    return _kept(images, severity, images * (1 - 0.9 * severity.view(-1, 1, 1) * dark)[:, None])


def decentration(images: Tensor, severity: Tensor, draws: Tensor) -> Tensor:
    """A shift by up to 45 % of half the side; what comes into the frame is black."""
    turn = 2 * math.pi * draws[:, 0]
    moved = severity[:, None] * _SHIFT * torch.stack([turn.cos(), turn.sin()], 1)
    theta = torch.eye(2, 3, device=images.device).repeat(len(images), 1, 1)
    theta[:, :, 2] = moved
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return _kept(images, severity, F.grid_sample(images, grid, align_corners=False))


def saturation(images: Tensor, severity: Tensor, draws: Tensor) -> Tensor:
    """Too much light, up to fourfold: bright parts are lost."""
    gain = 1 + severity * (1.5 + 1.5 * draws[:, 0])
    return _kept(images, severity, images * gain.view(-1, 1, 1, 1))


def noise(images: Tensor, severity: Tensor, draws: Tensor) -> Tensor:
    """Noise of the sensor, partly speckle, as strong as a quarter of the range."""
    share = draws[:, 0].view(-1, 1, 1, 1)
    amount = 0.25 * severity.view(-1, 1, 1, 1) * grain(draws[:, 1:3], _size(images))
    return _kept(images, severity, images + amount * ((1 - share) + share * 2 * images) * lit(images))


DEGRADATIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "blur": blur,
    "low_signal": low_signal,
    "motion": motion,
    "uneven_light": uneven_light,
    "decentration": decentration,
    "saturation": saturation,
    "noise": noise,
}
"""Kinds of degradations by name."""


def gaussian(images: Tensor, sigma: Tensor) -> Tensor:
    """Images ``(B, C, H, W)`` under Gaussians of their own width ``sigma (B,)`` in pixels, mirrored at the border."""
    radius = min(max(1, math.ceil(3 * float(sigma.max()))), min(images.shape[-2:]) - 1)
    place = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    weights = torch.exp(-0.5 * (place / sigma.clamp(min=1e-3)[:, None]).square())
    weights = weights / weights.sum(1, keepdim=True)
    batch, channels, height, width = images.shape
    kernel = weights.repeat_interleave(channels, 0)
    folded = images.reshape(1, batch * channels, height, width)
    across = F.conv2d(
        F.pad(folded, (radius, radius, 0, 0), mode="reflect"), kernel[:, None, None], groups=batch * channels
    )
    down = F.conv2d(
        F.pad(across, (0, 0, radius, radius), mode="reflect"), kernel[:, None, :, None], groups=batch * channels
    )
    return down.reshape(images.shape)


def lit(images: Tensor) -> Tensor:
    """1 inside the lit field, 0 on black borders, ``(B, 1, H, W)``."""
    bright = images.amax(1, keepdim=True)
    return (F.avg_pool2d(F.max_pool2d(bright, 5, 1, 2), 9, 1, 4) > _LIT).to(images.dtype)


def _kept(images: Tensor, severity: Tensor, changed: Tensor) -> Tensor:
    return torch.where(severity.view(-1, 1, 1, 1) > 0, changed.clamp(0, 1), images)


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]


def _plane(images: Tensor) -> tuple[Tensor, Tensor]:
    """Positions down ``(1, H, 1)`` and across ``(1, 1, W)`` in [-1, 1]."""
    height, width = images.shape[-2:]
    y = torch.linspace(-1, 1, height, device=images.device, dtype=images.dtype)
    x = torch.linspace(-1, 1, width, device=images.device, dtype=images.dtype)
    return y.view(1, -1, 1), x.view(1, 1, -1)
