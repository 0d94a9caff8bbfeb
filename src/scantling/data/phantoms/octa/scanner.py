"""How a scanner sees a macula, and what makes a scan worse: motion, blur, low signal, decentration, defocus.

Every fault has a strength in [0, 1]; without any, what is left is a good scan with its speckle.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import gaussian_filter

from scantling.data.phantoms.octa.anatomy import FIELD, Macula
from scantling.data.phantoms.textures import cut, texture_bank

FAULTS = ("motion", "blur", "low_signal", "decentration", "defocus")
"""Kinds of faults."""

GRADES = ("ungradable", "gradable", "outstanding")
"""Grades of quality, 0 to 2."""

_STRENGTHS = ((0.65, 1.0), (0.30, 0.55), (0.0, 0.12))
"""Strengths of the worst fault of every grade."""

_MOST = (3, 2, 1)
"""Faults of an image, at most, by grade."""


def draw_faults(grade: int, rng: np.random.Generator) -> dict[str, float]:
    """Strengths by kind, of which the greatest gives the grade."""
    count = int(rng.integers(1, _MOST[grade] + 1))
    kinds = rng.permutation(len(FAULTS))[:count]
    low, high = _STRENGTHS[grade]
    worst = float(rng.uniform(low, high))
    others = worst * rng.uniform(0.3, 1.0, count - 1)
    return {FAULTS[kind]: float(s) for kind, s in zip(kinds, [worst, *others], strict=True)}


def centre_of(faults: Mapping[str, float], rng: np.random.Generator) -> np.ndarray:
    """Where the fovea lies, ``(2,)`` millimetres from the middle of the frame."""
    turn = rng.uniform(0, 2 * np.pi)
    away = faults.get("decentration", 0.0) * 1.25
    return rng.normal(0, 0.05, 2) + away * np.array([np.cos(turn), np.sin(turn)])


def scan(macula: Macula, faults: Mapping[str, float], rng: np.random.Generator) -> tuple[np.ndarray, Macula]:
    """An image ``(H, W)`` uint8, and the truth where the image shows it."""
    size = len(macula.flow)
    unit = size / 256
    low, defocus = faults.get("low_signal", 0.0), faults.get("defocus", 0.0)
    sigma = unit * float(np.hypot(0.45 + 3.2 * faults.get("blur", 0.0), 2.0 * defocus))
    flow = gaussian_filter(macula.flow, sigma) * np.float32(rng.uniform(0.92, 1.08))
    flow *= _shade(size, defocus, rng) * np.float32(1 - 0.72 * low)
    bank = texture_bank(size)
    speckle = cut(bank["grain"], size, rng)[..., 0]
    floor = np.float32(0.10 - 0.03 * low) + np.float32(0.012) * cut(bank["cloud"], size, rng)
    light = floor + np.float32(0.88) * flow * (1 + np.float32(0.16) * speckle)
    light += np.float32(0.028 + 0.055 * low) * cut(bank["grain"], size, rng)[..., 1]
    light += np.float32(0.006) * rng.standard_normal((size, 1), dtype=np.float32)
    found = Macula(light, macula.vessel, macula.zone)
    if "motion" in faults:
        found = _moved(found, faults["motion"], rng)
    return np.round(255 * np.clip(found.flow, 0, 1)).astype(np.uint8), Macula(macula.flow, found.vessel, found.zone)


def _shade(size: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """What a lens out of focus leaves of the light: a side or a corner falls off."""
    axis = (np.arange(size, dtype=np.float32) / (size - 1) - np.float32(0.5)) * 2
    turn, sharp = rng.uniform(0, 2 * np.pi), rng.uniform(1.2, 2.5)
    slope = np.float32(np.cos(turn)) * axis[None, :] + np.float32(np.sin(turn)) * axis[:, None]
    dark = 1 / (1 + np.exp(-np.float32(2 * sharp) * (slope - np.float32(rng.uniform(0.0, 0.5)))))
    return np.asarray(1 - np.float32(0.85 * strength) * dark, dtype=np.float32)


def _moved(found: Macula, strength: float, rng: np.random.Generator) -> Macula:
    """Jumps of the eye: from a row on, everything lies elsewhere; the rows of a jump are bright streaks."""
    size = len(found.flow)
    jumps = 1 + rng.binomial(13, strength)
    rows = np.sort(rng.integers(2, size - 2, jumps))
    offsets = rng.normal(0, 0.085 * strength + 0.008, jumps) * size / FIELD
    after = np.cumsum(np.bincount(rows, offsets, size))
    shift = np.rint(after - after.mean()).astype(np.intp)
    columns = np.clip(np.arange(size) + shift[:, None], 0, size - 1)
    planes = [np.take_along_axis(plane, columns, 1) for plane in found]
    thick = rng.uniform(0.4, 0.6 + 1.4 * strength, jumps) * size / 256
    gap = np.abs(np.arange(size)[:, None] - rows) / thick
    height = rng.uniform(0.15, 0.35 + 0.45 * strength, jumps) * np.where(rng.random(jumps) < 0.25, -0.6, 1.0)
    streak = (np.exp(-(gap**2)) * height).sum(1).astype(np.float32)[:, None]
    light = planes[0] + streak * (1 + np.float32(0.25) * cut(texture_bank(size)["grain"], size, rng)[..., 2])
    return Macula(light, planes[1], planes[2])
