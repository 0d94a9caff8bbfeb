"""A decoded image in its own number range."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Picture:
    """One image as its file holds it.

    Args:
        pixels: ``(H, W, C)``, C 1 or 3, in the file's own dtype where that is possible.
        low: the value that maps to 0.
        high: the value that maps to 1; above ``low``.
        spacing: millimetres between rows and between columns, where the file says so.
        info: facts about the file that identify nobody (modality, view, laterality, ...).
    """

    pixels: np.ndarray
    low: float
    high: float
    spacing: tuple[float, float] | None = None
    info: dict[str, Any] = field(default_factory=dict)

    def to_uint8(self) -> np.ndarray:
        """Pixels ``(H, W, C)`` with ``low`` at 0 and ``high`` at 255, clipped, rounded to the nearest.

        >>> Picture(np.array([[[0], [300], [1000]]], dtype=np.uint16), 0, 600).to_uint8().ravel()
        array([  0, 128, 255], dtype=uint8)
        """
        if self.pixels.dtype == np.uint8 and (self.low, self.high) == (0, 255):
            return self.pixels
        scaled = (self.pixels.astype(np.float32) - self.low) * (255.0 / (self.high - self.low))
        return (np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0).clip(0, 255) + 0.5).astype(np.uint8)


def natural_range(values: np.ndarray) -> tuple[float, float]:
    """The values that map to 0 and 1: the whole range of uint8, uint16 and bool, [0, 1] for floats that stay inside it,
    else the least and the greatest finite value.

    >>> natural_range(np.zeros(3, dtype=np.uint16)), natural_range(np.array([-4.0, 6.0]))
    ((0.0, 65535.0), (-4.0, 6.0))
    """
    if values.dtype == bool:
        return 0.0, 1.0
    if values.dtype in (np.uint8, np.uint16):
        return 0.0, float(np.iinfo(values.dtype).max)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if np.issubdtype(values.dtype, np.floating) and low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, (high if high > low else low + 1.0)
