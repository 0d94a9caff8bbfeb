"""What is seen of an augmented image: a crop of it, enlarged or reduced."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scantling.augment.geometry import identity_maps
from scantling.augment.operations.geometric import extent
from scantling.core.errors import RecipeError


@dataclass(frozen=True)
class Frame:
    """A resampling of every image of a batch.

    Args:
        maps: result to source in pixels, ``(B, 3, 3)``, see :mod:`scantling.augment.geometry`.
        size: height and width of the result.
        shifts: by how much of the source every point is displaced, ``(B, 2, height, width)`` as right and down.
    """

    maps: np.ndarray
    size: tuple[int, int]
    shifts: Tensor | None = None

    def __getitem__(self, part: slice) -> Frame:
        return Frame(self.maps[part], self.size, None if self.shifts is None else self.shifts[part])

    def window(self, source: tuple[int, int], margin: int = 0) -> tuple[slice, slice]:
        """Rows and columns of sources of a size (height, width) that hold all pixels that are seen, and a margin."""
        if self.shifts is not None:
            return slice(0, source[0]), slice(0, source[1])
        low, high = extent(self.maps, self.size)
        first = np.clip(np.floor(low) - 1 - margin, 0, np.array(source[::-1]) - 1).astype(int)
        last = np.clip(np.ceil(high) + 1 + margin, first + 1, source[::-1]).astype(int)
        return slice(int(first[1]), int(last[1])), slice(int(first[0]), int(last[0]))

    def within(self, rows: slice, columns: slice) -> Frame:
        """The same frame for sources of which only these rows and columns are there."""
        maps = self.maps.copy()
        maps[:, 0, 2] -= columns.start
        maps[:, 1, 2] -= rows.start
        return Frame(maps, self.size, self.shifts)


@dataclass(frozen=True)
class Framing:
    """Resizes each axis by a factor of its own, then cuts out a random crop: what AADG does after its operations.

    Args:
        scale_range: range of the factors; ``(0.5, 2.0)`` is the paper's for vessels, ``(1.0, 1.5)`` for disc and cup.
        crop: side of the crop in pixels; left out, the size of the image. Where the resized image is smaller, it lies
            anywhere in the crop, the rest is 0, and -1 in masks.
        probability: of the resizing; the crop is always taken.

    Raises:
        RecipeError: no range, no probability, or a crop below 1.
    """

    scale_range: tuple[float, float] = (1.0, 1.0)
    crop: int | None = None
    probability: float = 0.8

    def __post_init__(self) -> None:
        low, high = self.scale_range
        if not 0 < low <= high:
            raise RecipeError(f"{[low, high]} is no range", where="scale_range", do="give two factors above 0")
        if self.crop is not None and self.crop < 1:
            raise RecipeError(f"a crop of {self.crop} pixels", where="crop", do="use 1 or more")
        if not 0 <= self.probability <= 1:
            raise RecipeError(f"{self.probability} is no probability", where="probability", do="use 0 to 1")

    @property
    def idle(self) -> bool:
        """Whether it changes nothing."""
        return self.crop is None and tuple(self.scale_range) == (1.0, 1.0)

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> Frame:
        """Frames of ``count`` images of ``size`` (height, width)."""
        numbers = torch.rand(count, 5, generator=generator, device=generator.device, dtype=torch.float64).cpu().numpy()
        low, high = self.scale_range
        factors = low + (high - low) * numbers[:, :2]
        factors = np.where(numbers[:, 2:3] < self.probability, factors, 1.0)
        crop = size if self.crop is None else (self.crop, self.crop)
        spare = factors * np.array(size) - np.array(crop)
        places = np.minimum(spare, 0) + numbers[:, 3:] * np.abs(spare)
        # Without resizing, whole pixels: nothing is interpolated.
        places = np.where(factors == 1.0, np.floor(places), places)
        maps = identity_maps(count)
        for row, axis in ((1, 0), (0, 1)):
            maps[:, row, row], maps[:, row, 2] = 1 / factors[:, axis], places[:, axis] / factors[:, axis]
        return Frame(maps, crop)
