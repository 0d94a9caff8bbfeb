"""Operations that give every value of a channel a new one.

Values are those of Pillow, bit by bit: 8-bit numbers, fractions cut off. The statistical ones give tables.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scantling.augment.colour import LUMA
from scantling.augment.operations.tables import VALUES, histograms

_TINY = 1e-6
"""Far below the smallest fraction of a quotient of 8-bit numbers, far above a rounding error in float64."""


def invert(table: Tensor, values: Tensor, draws: Tensor) -> Tensor:
    """255 less the value; there is no magnitude."""
    return 255 - table


def solarize(table: Tensor, thresholds: Tensor, draws: Tensor) -> Tensor:
    """Inverts values from a threshold on: 0 inverts all, 256 none."""
    return torch.where(table.double() < _each(thresholds, table), table, 255 - table)


def posterize(table: Tensor, bits: Tensor, draws: Tensor) -> Tensor:
    """Keeps the highest bits, 8 keep all; fractions of bits are cut off."""
    dropped = 8 - _each(bits, table).long().clamp(0, 8)
    return (table.long() >> dropped << dropped).to(torch.uint8)


def brightness(table: Tensor, factors: Tensor, draws: Tensor) -> Tensor:
    """Multiplies by a factor: 0 gives black, 1 changes nothing."""
    return bytes_of(table.float() * _each(factors, table).float())


def offset(table: Tensor, shares: Tensor, draws: Tensor) -> Tensor:
    """Adds a share of the largest value, such as 0.1 or -0.1."""
    return bytes_of((table.double() + 255 * _each(shares, table)).round())


def gamma(table: Tensor, exponents: Tensor, draws: Tensor) -> Tensor:
    """Values in [0, 1] to a power: 1 changes nothing, more is darker."""
    return bytes_of((255 * (table.double() / 255) ** _each(exponents, table)).round())


def auto_contrast(images: Tensor, values: Tensor) -> Tensor:
    """Stretches each channel to the whole range; a channel of one value stays."""
    low, high = images.amin((2, 3)).double()[..., None], images.amax((2, 3)).double()[..., None]
    known = _known(images)
    stretched = ((known - low) * 255 / (high - low).clamp(min=1) + _TINY).clamp(0, 255)
    return torch.where(high > low, stretched, known).to(torch.uint8)


def equalize(images: Tensor, values: Tensor) -> Tensor:
    """Makes the values of each channel about equally frequent; a channel of one value stays."""
    counts = histograms(images)
    last = torch.where(counts > 0, torch.arange(VALUES, device=counts.device), -1).amax(2, keepdim=True)
    step = (counts.sum(2, keepdim=True) - counts.gather(2, last)) // 255
    below = counts.cumsum(2) - counts
    equal = ((step // 2 + below) // step.clamp(min=1)).clamp(max=255)
    return torch.where(step > 0, equal, _known(images).long()).to(torch.uint8)


def contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Multiplies distances from the mean grey value: 0 gives that everywhere, 1 changes nothing."""
    means = images.sum(3, dtype=torch.int32).sum(2).double() / images[0, 0].numel()
    if means.shape[1] == 3:
        means = (means * torch.tensor(LUMA, dtype=torch.float64, device=images.device)).sum(1, keepdim=True)
    middle = (means.mean(1) + 0.5).floor().float()[:, None, None]
    known = _known(images).float()
    return bytes_of(middle + _each(factors, known).float() * (known - middle)).expand(-1, images.shape[1], -1)


def bytes_of(values: Tensor) -> Tensor:
    """Float values within 16 bits, cut to whole numbers and to [0, 255], uint8."""
    # Short numbers are cut faster than floats.
    return values.to(torch.int16).clamp_(0, 255).to(torch.uint8)


def _known(images: Tensor) -> Tensor:
    """The 256 values, ``(1, 1, 256)`` float64."""
    return torch.arange(VALUES, dtype=torch.float64, device=images.device).view(1, 1, -1)


def _each(values: Tensor, table: Tensor) -> Tensor:
    """One value an image, ``(n, 1, 1)`` float64, beside ``table (n, C, 256)``."""
    return values.to(table.device, torch.float64).view(-1, 1, 1)
