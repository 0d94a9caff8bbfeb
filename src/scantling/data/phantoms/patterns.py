"""Periodic fields that patterns are read from at any place, scale and turn: cells of a random honeycomb, and clouds.

So the images of one lesion show the same pattern from different sides, and no picture has to make its own noise.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

CELLS = 20
"""Cells of the honeycomb along one side of its period."""

_SIDE = 800
_SEED = 20240811


@lru_cache(maxsize=1)
def honeycomb() -> np.ndarray:
    """A periodic random honeycomb ``(800, 800, 3)`` float32, :data:`CELLS` cells a side.

    Returns:
        Distance to the wall of the cell and distance to its middle, both in cell widths, and a number in [0, 1) that
        all points of a cell share.
    """
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(_SEED)
    rows, columns = np.divmod(np.arange(CELLS * CELLS), CELLS)
    middle = np.stack([columns + 0.5 * (rows % 2), rows], 1) + rng.uniform(-0.28, 0.28, (CELLS * CELLS, 2))
    axis = np.arange(_SIDE) * (CELLS / _SIDE)
    points = np.stack(np.meshgrid(axis, axis), -1)
    gap, nearest = cKDTree(middle % CELLS, boxsize=CELLS).query(points, k=2)
    shared = rng.permutation(CELLS * CELLS)[nearest[..., 0]] / (CELLS * CELLS)
    field = np.stack([(gap[..., 1] - gap[..., 0]) / 2, gap[..., 0], shared], -1).astype(np.float32)
    field.setflags(write=False)
    return field


@lru_cache(maxsize=1)
def clouds() -> np.ndarray:
    """Periodic noise ``(800, 800, 2)`` float32, mean 0, standard deviation 1.

    Returns:
        Soft blotches a quarter of the period wide, and fine ones about a fifteenth of it wide.
    """
    rng = np.random.default_rng(_SEED + 1)
    fy, fx = np.fft.fftfreq(_SIDE)[:, None] * _SIDE, np.fft.rfftfreq(_SIDE)[None, :] * _SIDE
    radius = np.hypot(fx, fy)
    gains = (np.exp(-((radius / 4) ** 2)), np.exp(-((np.log2((radius + 1e-6) / 14)) ** 2) / 1.2))
    planes = []
    for gain in gains:
        spectrum = np.fft.rfft2(rng.standard_normal((_SIDE, _SIDE))) * gain
        spectrum[0, 0] = 0
        plane = np.fft.irfft2(spectrum, s=(_SIDE, _SIDE))
        planes.append((plane - plane.mean()) / plane.std())
    field = np.stack(planes, -1).astype(np.float32)
    field.setflags(write=False)
    return field


def read(field: np.ndarray, x: np.ndarray, y: np.ndarray, turn: float, shift: np.ndarray) -> np.ndarray:
    """Values of a periodic field at points.

    Nearest pixels: a field is finer than any picture it is read for, and every picture is blurred by its optics.

    Args:
        field: ``(side, side, K)``.
        x: position to the right in periods, float32, ``(H, W)`` or what broadcasts to it with ``y``.
        y: position down, likewise.
        turn: angle of the field, radians.
        shift: its place, ``(2,)`` in periods.

    Returns:
        ``(K, H, W)``.
    """
    side = field.shape[0]
    cos, sin = np.float32(side * np.cos(turn)), np.float32(side * np.sin(turn))
    # Whole periods keep all positions positive, so that cutting off decimals rounds down.
    column = (x * cos + y * sin + np.float32((shift[0] + 64) * side)).astype(np.int32) % side
    row = (y * cos - x * sin + np.float32((shift[1] + 64) * side)).astype(np.int32) % side
    return np.moveaxis(field.reshape(side * side, -1).take(row * side + column, axis=0), -1, 0)


def step(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 up to ``low``, 1 from ``high`` on, smooth between; downwards where ``low`` is the greater."""
    t = np.clip((value - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))
