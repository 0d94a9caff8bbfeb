"""Whether a structure looks like the shape that was fitted to it."""

from __future__ import annotations

import numpy as np


def overlap(drawn: np.ndarray, structure: np.ndarray) -> np.ndarray:
    """Intersection over union of masks ``(N, H, W)`` bool, ``(N,)``; 0 where both are empty."""
    both = np.count_nonzero(drawn & structure, axis=(1, 2))
    either = np.count_nonzero(drawn | structure, axis=(1, 2))
    return np.asarray(both / np.maximum(either, 1))


def touches_edge(structure: np.ndarray) -> np.ndarray:
    """Whether structures ``(N, H, W)`` reach the edge of the picture, ``(N,)`` bool."""
    rows, columns = structure[:, [0, -1]], structure[:, :, [0, -1]]
    return np.asarray(rows.any((1, 2)) | columns.any((1, 2)))
