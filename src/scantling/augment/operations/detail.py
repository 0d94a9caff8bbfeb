"""Operations on a pixel's neighbourhood: sharpness, blur, noise."""

from __future__ import annotations

import torch
from torch import Tensor

from scantling.augment import colour
from scantling.augment.operations.operation import column
from scantling.augment.operations.tone import bytes_of


def sharpness(images: Tensor, factors: Tensor, draws: Tensor) -> Tensor:
    """Multiplies distances from a smoothed image: 0 gives that, 1 changes nothing; pixels at the border stay.

    Smoothed by Pillow's kernel: 5 in the centre, 1 around it, divided by 13, and rounded.
    """
    if min(images.shape[-2:]) < 3:
        return images
    whole = images.to(torch.int16)
    rows = whole[..., :-2, :] + whole[..., 1:-1, :]
    rows += whole[..., 2:, :]
    inner = whole[..., 1:-1, 1:-1]
    total = torch.add(rows[..., 2:], inner, alpha=4)
    total += rows[..., 1:-1]
    total += rows[..., :-2]
    smooth = total.float().mul_(1 / 13).round_()
    sharp = smooth.addcmul_(inner.float().sub_(smooth), column(factors, images))
    out = images.clone()
    out[..., 1:-1, 1:-1] = bytes_of(sharp)
    return out


def blur(images: Tensor, sigmas: Tensor, draws: Tensor) -> Tensor:
    """Smooths by Gaussians of standard deviations in pixels; 0 changes nothing."""
    small = (sigmas <= 0).to(images.device).view(-1, 1, 1, 1)
    smooth = colour.blur(images.float(), sigmas.clamp(min=1e-3).float()).round_()
    return torch.where(small, images, bytes_of(smooth))


def noise(images: Tensor, deviations: Tensor, draws: Tensor) -> Tensor:
    """Adds Gaussian noise, in every channel its own, whose standard deviation is a share of the largest value.

    The noise is drawn on the images' device from a seed, so that it is not the same on a CPU and on a GPU.
    """
    generator = torch.Generator(images.device).manual_seed(int(draws[0, 0] * 2**52))
    field = torch.randn(images.shape, generator=generator, device=images.device)
    return bytes_of(field.mul_(255 * column(deviations, images)).add_(images).round_())
