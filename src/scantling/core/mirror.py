"""Mirroring by a code, the same wherever images are mirrored."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def mirror(images: Tensor, code: int) -> Tensor:
    """``images (..., H, W)`` mirrored without resampling: 0 not, 1 left to right, 2 upside down, 3 both."""
    return images.flip([axis for axis, bit in ((-1, 1), (-2, 2)) if code & bit])
