"""What an operation is: its range of values, and one of four ways in which it changes images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MAGNITUDES = 10
"""Magnitudes are whole numbers from 0 to this one less 1."""

DRAWS = 4
"""Uniform numbers in [0, 1) that each image has for each operation; the last one is the sign of mirrored operations."""

BAND_VALUES, MIN_ROWS = 2**17, 16
"""Values of the images that an operation on neighbourhoods works on at a time on a CPU, and the fewest rows of them."""


@dataclass(frozen=True)
class Operation:
    """An operation on 8-bit images with one value, such as an angle or a factor, for each image.

    Args:
        low: value of magnitude 0.
        high: value of magnitude 9.
        neutral: value that changes nothing; for operations without a value that of ``low`` and ``high``.
        mirrored: whether the value gets a random sign.
    """

    low: float = 0.0
    high: float = 0.0
    neutral: float = 0.0
    mirrored: bool = False

    def value(self, magnitudes: Tensor) -> Tensor:
        """Values of magnitudes: ``low + (high - low) m / 9``, float64."""
        return self.low + (self.high - self.low) * magnitudes.double() / (MAGNITUDES - 1)

    def stronger(self, levels: Tensor, sides: Tensor) -> Tensor:
        """Values at ``levels`` in [0, 1] from the neutral value to an extreme one.

        Args:
            levels: ``(n,)``, 0 changes nothing.
            sides: ``(n,)`` in [0, 1): below one half to the low end, where both ends are extreme.
        """
        if self.low < self.neutral < self.high:
            ends = torch.where(sides < 0.5, self.low, self.high)
        else:
            ends = torch.full_like(levels, self.low if self.neutral == self.high else self.high)
        return self.neutral + levels * (ends - self.neutral)


@dataclass(frozen=True)
class Pointwise(Operation):
    """A new value for every value: done once for the 256 values that there are, not for every pixel.

    Args:
        compute: from values ``(n, C, 256)`` uint8, the operation's values ``(n,)`` and draws ``(n, DRAWS)``, on the
            CPU, to new values.
    """

    compute: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda table, values, draws: table


@dataclass(frozen=True)
class Statistical(Operation):
    """A new value for every value that depends on the whole image.

    Args:
        compute: from images ``(n, C, H, W)`` uint8 and the operation's values to new values ``(n, C, 256)`` uint8.
    """

    compute: Callable[[Tensor, Tensor], Tensor] = lambda images, values: images


@dataclass(frozen=True)
class Spatial(Operation):
    """New pixels from pixels of several places or channels.

    Args:
        compute: from images ``(n, C, H, W)`` uint8, the operation's values ``(n,)`` and draws ``(n, DRAWS)``, on the
            CPU, to images; the given ones stay as they are.
        reach: how many pixels around a pixel it depends on; None where its place in the image counts.
    """

    compute: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda images, values, draws: images
    reach: int | None = None

    def __call__(self, images: Tensor, values: Tensor, draws: Tensor) -> Tensor:
        """As ``compute``; on a CPU in bands of rows, so that what lies between the steps stays in the cache."""
        height = images.shape[-2]
        rows = max(MIN_ROWS, BAND_VALUES // max(1, images.numel() // height))
        if images.device.type != "cpu" or self.reach is None or rows >= height:
            return self.compute(images, values, draws)
        out = torch.empty_like(images)
        for start in range(0, height, rows):
            first, last = max(0, start - self.reach), min(height, start + rows + self.reach)
            band = self.compute(images[..., first:last, :], values, draws)
            out[..., start : start + rows, :] = band[..., start - first : start - first + rows, :]
        return out


@dataclass(frozen=True)
class Geometric(Operation):
    """Moves pixels, and the mask and maps with them.

    Args:
        compute: from the operation's values ``(n,)`` and the size to maps ``(n, 3, 3)``, see
            :mod:`scantling.augment.geometry`.
    """

    compute: Callable[[np.ndarray, tuple[int, int]], np.ndarray] = lambda values, size: values


def column(values: Tensor, images: Tensor) -> Tensor:
    """Values ``(n,)`` as float32 ``(n, 1, 1, 1)`` on the device of ``images``."""
    return values.to(images.device, torch.float32).view(-1, 1, 1, 1)
