"""Periodic noise fields that every image is cut from: made once a size, by shaping the spectrum of white noise."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

FANS = 6
"""Number of different choroidal nets."""

_SEED = 20240719


@lru_cache(maxsize=4)
def texture_bank(size: int) -> dict[str, np.ndarray]:
    """Fields ``(2 * size, 2 * size)`` float32 with mean 0 and standard deviation 1, twice as wide as an image.

    Args:
        size: side of the images in pixels.

    Returns:
        ``cloud`` (large soft blotches), ``mottle`` (small blotches of the pigment epithelium) and ``grain``
        (``(2 * size, 2 * size, 3)``, independent pixels whose three channels go partly together).
    """
    rng = np.random.default_rng([_SEED, size])
    side = 2 * size
    fy = np.fft.fftfreq(side)[:, None] * size / 2
    fx = np.fft.rfftfreq(side)[None, :] * size / 2
    radius = np.hypot(fx, fy)
    cloud = _shaped(rng, (side, side), 1 / (0.6**2 + radius**2) ** 1.25)
    mottle = _shaped(rng, (side, side), np.exp(-((np.log2((radius + 1e-6) / 9)) ** 2) / 1.6))
    grain = rng.standard_normal((side, side, 3), dtype=np.float32) * np.float32(0.6)
    grain += np.float32(0.8) * rng.standard_normal((side, side, 1), dtype=np.float32)
    bank = {"cloud": cloud, "mottle": mottle, "grain": grain}
    for field in bank.values():
        field.setflags(write=False)
    return bank


@lru_cache(maxsize=4)
def choroid_bank(size: int) -> np.ndarray:
    """Nets of bright bands that fan out from the middle, as choroidal vessels do.

    Args:
        size: side of the images in pixels.

    Returns:
        ``(FANS, 2 * size, 2 * size)`` float32, mean 0, standard deviation 1; the middle is the centre of the fan.
    """
    rng = np.random.default_rng(_SEED)
    axis = (np.arange(2 * size, dtype=np.float32) - (2 * size - 1) / 2) * (2 / size)
    x, y = axis[None, :], axis[:, None]
    turns, depth = 2048, 512
    angle = np.arctan2(y, x) * (turns / (2 * np.pi))
    depths = np.log(np.hypot(x, y) + 0.25) * (depth / 4)
    ft, fd = np.fft.fftfreq(turns)[:, None] * turns, np.fft.rfftfreq(depth)[None, :] * depth
    bands = np.exp(-(((ft / 52) ** 2 + (fd / 6) ** 2 - 0.5) ** 2) / 0.25)
    bends = np.exp(-((ft / 9) ** 2) - (fd / 10) ** 2)
    out = np.empty((FANS, 2 * size, 2 * size), dtype=np.float32)
    for plane in out:
        net = np.exp(-((_shaped(rng, (turns, depth), bands) / 0.55) ** 2))
        sway = _shaped(rng, (turns, depth), bends)
        row, column = angle.astype(np.intp) % turns, depths.astype(np.intp) % depth
        plane[:] = _standard(net[(row + (13 * sway[row, column]).astype(np.intp)) % turns, column])
    out.setflags(write=False)
    return out


def cut(field: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A random ``(size, size, ...)`` view of a field, in one of four orientations."""
    top, left, turn = rng.integers(0, size + 1), rng.integers(0, size + 1), rng.integers(0, 4)
    return flip(field[top : top + size, left : left + size], int(turn))


def flip(field: np.ndarray, turn: int) -> np.ndarray:
    """A field upside down (``turn`` 1), mirrored (2), both (3) or as it is (0)."""
    field = field[::-1] if turn & 1 else field
    return field[:, ::-1] if turn & 2 else field


def _shaped(rng: np.random.Generator, shape: tuple[int, int], gain: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft2(rng.standard_normal(shape)) * gain
    spectrum[0, 0] = 0
    return _standard(np.fft.irfft2(spectrum, s=shape))


def _standard(field: np.ndarray) -> np.ndarray:
    return ((field - field.mean()) / field.std()).astype(np.float32)
