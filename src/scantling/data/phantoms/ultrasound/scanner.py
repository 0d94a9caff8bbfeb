"""Scanners: a convex probe's sector, speckle, loss with depth, shadows, and the compression to grey.

Echoes are kept in decibels. A site is a scanner with its own sector, speckle and dynamic range.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

from scantling.data.phantoms.patterns import step

DECIBELS = 10 / np.log(10)

_SIDE = 512
_SEED = 20240915
_PULSE = 0.45


@dataclass(frozen=True)
class Scanner:
    """A scanner and its settings.

    Args:
        half_angle: of the sector, radians.
        radius: of the probe's surface, mm.
        cell: width of a speckle across the beam at a depth of 100 mm, mm; a speckle is three times shorter along it.
        looks: shape of the gamma distribution of the speckle's power: 1 is fully developed, more is smoother.
        dynamic_range: decibels from black to white.
        loss: decibels that are lost per 10 mm of depth and not made up for.
        bar: whether a bar of greys stands at the left edge.
    """

    half_angle: float = 0.62
    radius: float = 50.0
    cell: float = 2.6
    looks: float = 1.5
    dynamic_range: float = 60.0
    loss: float = 0.5
    bar: bool = True


SCANNERS = (
    Scanner(),
    Scanner(0.72, 40.0, 3.6, 1.0, 54.0, 0.7, False),
    Scanner(0.52, 62.0, 2.0, 3.0, 66.0, 0.2, True),
    Scanner(0.66, 56.0, 3.0, 1.5, 60.0, 0.5, False),
)
"""The scanners of the sites; a set with more sites uses them again."""


@dataclass(frozen=True)
class Beams:
    """Where every pixel lies, ``(H, W)`` float32 each.

    Args:
        x: to the right of the probe's middle, mm.
        y: down from the probe's middle, mm.
        turn: angle of the beam that passes, radians.
        depth: along that beam from the probe's surface, mm.
        inside: whether it lies in the sector, 0 to 1 with a soft edge.
    """

    x: np.ndarray
    y: np.ndarray
    turn: np.ndarray
    depth: np.ndarray
    inside: np.ndarray


def frame_of(scanner: Scanner, reach: float, shape: tuple[int, int]) -> tuple[float, float, float]:
    """Millimetres in a pixel, and the column and row of the probe's middle, for a sector ``reach`` mm deep."""
    rise = scanner.radius * (1 - np.cos(scanner.half_angle))
    spacing = (reach + rise) / (0.96 * shape[0])
    return float(spacing), (shape[1] - 1) / 2, float(0.02 * shape[0] + rise / spacing)


def beams(scanner: Scanner, reach: float, shape: tuple[int, int]) -> Beams:
    """Beams of a sector ``reach`` mm deep in a picture of this height and width."""
    spacing, column, row = frame_of(scanner, reach, shape)
    x = (np.arange(shape[1], dtype=np.float32) - np.float32(column))[None, :] * np.float32(spacing)
    y = (np.arange(shape[0], dtype=np.float32) - np.float32(row))[:, None] * np.float32(spacing)
    x, y = np.broadcast_to(x, shape), np.broadcast_to(y, shape)
    below = y + np.float32(scanner.radius)
    turn, depth = np.arctan2(x, below), np.hypot(x, below) - np.float32(scanner.radius)
    edge = np.minimum((scanner.half_angle - np.abs(turn)) * (depth + scanner.radius), np.minimum(depth, reach - depth))
    return Beams(x, y, turn, depth, step(edge, -0.3 * spacing, 0.7 * spacing))


@lru_cache(maxsize=4)
def speckle_bank(looks: float) -> np.ndarray:
    """Periodic speckle ``(512, 512)`` in decibels, of gamma distributed power with mean 1 and this shape.

    Rows go along the beam, columns across it; speckles are about 4 by 4 cells, made as interference is: the squared
    magnitude of complex Gaussian noise after a blur, summed over independent looks.
    """
    rng = np.random.default_rng([_SEED, round(100 * looks)])
    frequency = np.fft.fftfreq(_SIDE)
    gain = np.exp(-((frequency[:, None] ** 2 + frequency[None, :] ** 2) * (2 * np.pi * 1.3) ** 2) / 2)
    whole, rest = int(looks), looks - int(looks)
    power = np.zeros((_SIDE, _SIDE))
    for share in (*(1.0,) * whole, *((rest,) if rest else ())):
        noise = rng.standard_normal((_SIDE, _SIDE)) + 1j * rng.standard_normal((_SIDE, _SIDE))
        field = np.fft.ifft2(np.fft.fft2(noise) * gain)
        power += share * np.abs(field) ** 2
    power /= power.mean()
    bank = (DECIBELS * np.log(np.maximum(power, 1e-4))).astype(np.float32)
    bank.setflags(write=False)
    return bank


def speckle(scanner: Scanner, where: Beams, rng: np.random.Generator) -> np.ndarray:
    """Speckle of a frame in decibels, ``(H, W)``: finer along the beam than across it, and wider with depth."""
    bank = speckle_bank(scanner.looks)
    across = np.float32(4 * (scanner.radius + 100) / scanner.cell)
    along = np.float32(12 / scanner.cell)
    shift = rng.integers(0, _SIDE, 2)
    columns = where.turn * across + (np.float32(shift[0]) + 64 * _SIDE)
    rows = where.depth * along + (np.float32(shift[1]) + 64 * _SIDE)
    left, top = columns.astype(np.int32), rows.astype(np.int32)
    share, fall = columns - left, rows - top
    flat = bank.ravel()

    def at(row: np.ndarray, column: np.ndarray) -> np.ndarray:
        return flat.take((row % _SIDE) * _SIDE + column % _SIDE)

    upper = at(top, left) * (1 - share) + at(top, left + 1) * share
    lower = at(top + 1, left) * (1 - share) + at(top + 1, left + 1) * share
    return np.asarray(upper * (1 - fall) + lower * fall)


def shade(
    where: Beams, turn: tuple[float, float], depth: np.ndarray | float, decibels: float, soft: float
) -> np.ndarray:
    """Loss in decibels behind something between two beams from a depth on, ``(H, W)``, 0 or less.

    Args:
        where: the beams.
        turn: first and last beam, radians.
        depth: of what casts the shadow, mm.
        decibels: of the loss, positive.
        soft: width of the shadow's edge, radians.
    """
    low, high = min(turn), max(turn)
    between = step(where.turn, low - soft, low + soft) * step(where.turn, high + soft, high - soft)
    return np.asarray(-np.float32(decibels) * between * step(where.depth - depth, 0.0, 2.0))


def develop(echoes: np.ndarray, scanner: Scanner, where: Beams, gain: float, rng: np.random.Generator) -> np.ndarray:
    """Grey picture ``(H, W)`` uint8 of echoes in decibels (0 is white): speckle, loss, noise, sector, bar."""
    spacing = float(where.x[0, 1] - where.x[0, 0])
    light = gaussian_filter(echoes, _PULSE / spacing) + speckle(scanner, where, rng)
    light -= np.float32(0.1 * scanner.loss) * where.depth
    # Slides of the gain that were set by hand, a few centimetres apart.
    slides = rng.normal(0, 1.5, 9)
    light += np.interp(where.depth.ravel(), np.linspace(0, float(where.depth.max()), 9), slides).reshape(light.shape)
    # Thermal noise is what is left where no echo comes back.
    noise = np.float32(-scanner.dynamic_range + 4) + 2 * rng.standard_normal(light.shape, dtype=np.float32)
    light = np.maximum(light + np.float32(gain), noise)
    grey = np.clip(1 + light / np.float32(scanner.dynamic_range), 0, 1) * where.inside
    if scanner.bar:
        height, width = grey.shape
        rows = slice(round(0.06 * height), round(0.35 * height))
        grey[rows, round(0.010 * width) : round(0.022 * width) + 1] = np.linspace(1, 0, rows.stop - rows.start)[:, None]
    return np.asarray((255 * grey + 0.5).astype(np.uint8))
