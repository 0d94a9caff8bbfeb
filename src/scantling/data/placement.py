"""Where the pixels of a preprocessed image came from, and the way back to the original."""

from __future__ import annotations

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
        import torch
        from torch.nn import functional as F

        left, top, right, bottom = self.box
        row, column, rows, columns = self.place
        inside = probabilities[:, row : row + rows, column : column + columns].float()
        shape = (bottom - top, right - left)
        best = torch.full(shape, -torch.inf, device=inside.device)
        winner = torch.zeros(shape, dtype=torch.uint8, device=inside.device)
        for number, one in enumerate(inside):
            if shape != (rows, columns):
                one = F.interpolate(one[None, None], shape, mode="bilinear", align_corners=False, antialias=True)[0, 0]
            better = one > best
            winner[better] = number
            best = torch.maximum(best, one)
        out = np.zeros(self.size, dtype=np.uint8)
        out[top:bottom, left:right] = winner.cpu().numpy()
        return out
