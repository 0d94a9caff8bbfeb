"""Colour augmentation of whole batches, every sample by its own factors. All functions change ``images`` in place."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the grey value (ITU-R BT.601, as in Pillow)."""


def grey(images: Tensor) -> Tensor:
    """Grey values ``(B, 1, H, W)`` of ``images (B, C, H, W)``; of other than three channels the mean."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    red, green, blue = images.unbind(1)
    return torch.mul(red, LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])[:, None]


def mean_grey(images: Tensor, boxes: Tensor | None = None) -> Tensor:
    """Mean grey value of each image, ``(B, 1, 1, 1)``, of the whole or of the pixels inside a box.

    Args:
        images: ``(B, C, H, W)``.
        boxes: top, left, height and width in pixels, ``(B, 4)``, on the images' device.
    """
    channels = images.mean((2, 3)) if boxes is None else _mean_in_boxes(images, boxes)
    if channels.shape[1] == 3:
        return (channels * _luma(images.device)).sum(1).view(-1, 1, 1, 1)
    return channels.mean(1).view(-1, 1, 1, 1)


@lru_cache(maxsize=4)
def _luma(device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(LUMA, device=device)


def _mean_in_boxes(images: Tensor, boxes: Tensor) -> Tensor:
    def share(extent: int, first: Tensor, length: Tensor) -> Tensor:
        position = torch.arange(extent, device=images.device)
        inside = (position >= first[:, None]) & (position < (first + length)[:, None])
        return inside.to(images.dtype) / length[:, None]

    top, left, high, wide = boxes.unbind(1)
    by_row, by_column = share(images.shape[2], top, high), share(images.shape[3], left, wide)
    rows = torch.matmul(images, by_column[:, None, :, None])[..., 0]
    return torch.matmul(rows, by_row[:, :, None])[..., 0]


def adjust_brightness_and_contrast(
    images: Tensor, brightness: Tensor, contrast: Tensor, boxes: Tensor | None = None
) -> Tensor:
    """Values multiplied by ``brightness`` and cut at 1, then their distances from the mean grey value by ``contrast``.

    Args:
        images: ``(B, C, H, W)`` in [0, 1]; the results are in [0, 1], too.
        brightness: ``(B,)`` above or equal to 0; 1 changes nothing.
        contrast: ``(B,)`` above or equal to 0; 1 changes nothing, 0 gives the mean grey value everywhere.
        boxes: where the mean is taken, as for :func:`mean_grey`.
    """
    bright, contrast = brightness.view(-1, 1, 1, 1), contrast.view(-1, 1, 1, 1)
    # Cut before the multiplication, so that one multiplication serves both.
    images = torch.minimum(images, 1 / bright, out=images)
    offset = mean_grey(images, boxes) * bright * (1 - contrast)
    return images.mul_(bright * contrast).add_(offset).clamp_(0.0, 1.0)


def adjust_saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Distances from each pixel's grey value multiplied by ``factors (B,)`` >= 0, cut to [0, 1]; 0 gives grey."""
    factor = factors.view(-1, 1, 1, 1)
    offset = grey(images).mul_(1 - factor)
    return images.mul_(factor).add_(offset).clamp_(0.0, 1.0)


def shift_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Hues of ``images (B, 3, H, W)`` in [0, 1] turned by ``turns (B,)`` of the colour circle, in [-0.5, 0.5]."""
    from kornia.color import hsv_to_rgb, rgb_to_hsv

    hsv = rgb_to_hsv(images)
    hsv[:, 0].add_(turns.view(-1, 1, 1) * (2 * torch.pi)).remainder_(2 * torch.pi)
    return images.copy_(hsv_to_rgb(hsv)).clamp_(0.0, 1.0)


def blur(images: Tensor, sigmas: Tensor) -> Tensor:
    """``images (B, C, H, W)`` smoothed by Gaussians of ``sigmas (B,)`` pixels, with mirrored borders."""
    batch, channels, height, width = images.shape
    radius = max(1, min(round(3 * float(sigmas.max())), height - 1, width - 1))
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernels = (-0.5 * (offsets / sigmas.to(images).view(-1, 1)) ** 2).exp()
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None]
    planes = F.pad(images.reshape(1, batch * channels, height, width), [radius] * 4, mode="reflect")
    planes = F.conv2d(planes, kernels[:, :, None, :], groups=batch * channels)
    planes = F.conv2d(planes, kernels[:, :, :, None], groups=batch * channels)
    return images.copy_(planes.view_as(images))
