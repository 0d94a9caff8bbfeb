"""Where the pixels of a preprocessed image came from, and the way back to the original."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Placement:
    """The geometry of one image's preprocessing: a box of the original, resized to a place in the result.

    Args:
        size: height and width of the original.
        box: ``(left, top, right, bottom)`` of what was kept of the original.
        place: ``(top, left, rows, columns)`` of that in the result; the rest is padding.
    """

    size: tuple[int, int]
    box: tuple[int, int, int, int]
    place: tuple[int, int, int, int]

    def classes(self, probabilities: Tensor) -> np.ndarray:
        """The most probable class of every pixel of the original.

        The probabilities are interpolated (bilinear, with antialiasing where the original is smaller) before they are
        compared, class by class, so that no array of all classes at the original's size is needed.

        Args:
            probabilities: ``(K, h, w)`` at the size of the result.

        Returns:
            ``(H, W)`` uint8 class numbers; 0 outside the box.
        """
        best = self._inside(probabilities[0])
        winner = best.new_zeros(best.shape).byte()
        for number in range(1, len(probabilities)):
            one = self._inside(probabilities[number])
            winner[one > best] = number
            best = best.maximum(one)
        return self._outside(winner, np.uint8)

    def bits(self, probabilities: Tensor, thresholds: Sequence[float]) -> np.ndarray:
        """The structures of every pixel of the original, which may overlap.

        Args:
            probabilities: ``(K, h, w)`` at the size of the result.
            thresholds: from which probability a pixel belongs to each structure.

        Returns:
            ``(H, W)`` uint8, ``2^k`` for structure k, summed; 0 outside the box.
        """
        out = np.zeros(self.size, dtype=np.uint8)
        for k, (one, threshold) in enumerate(zip(probabilities, thresholds, strict=True)):
            out |= self._outside((self._inside(one) >= threshold).byte() << k, np.uint8)
        return out

    def enlarged(self, values: Tensor) -> np.ndarray:
        """A map ``(h, w)`` of the result at the size of the original, ``(H, W)`` float32; 0 outside the box."""
        return self._outside(self._inside(values), np.float32)

    def _inside(self, values: Tensor) -> Tensor:
        """One map without its padding, at the size of the box."""
        from torch.nn import functional as F

        left, top, right, bottom = self.box
        row, column, rows, columns = self.place
        shape = (bottom - top, right - left)
        inside = values[row : row + rows, column : column + columns].float()
        if shape == (rows, columns):
            return inside
        return F.interpolate(inside[None, None], shape, mode="bilinear", align_corners=False, antialias=True)[0, 0]

    def _outside(self, inside: Tensor, kind: type[np.generic]) -> np.ndarray:
        """The original, with nothing round the box."""
        left, top, right, bottom = self.box
        out = np.zeros(self.size, dtype=kind)
        out[top:bottom, left:right] = inside.cpu().numpy()
        return out
