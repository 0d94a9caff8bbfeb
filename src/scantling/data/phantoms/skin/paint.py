"""Painting one lesion: its outline, its pigment, and the dermoscopic patterns in it.

Light is kept as its logarithm, channel by channel, so that what absorbs (melanin, blood) is subtracted, and what covers
(scale, veil, scar) is blended in. Positions are in radii of the lesion, in a frame that turns with it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scantling.data.phantoms.lattice import generator
from scantling.data.phantoms.patterns import CELLS, clouds, honeycomb, read, step
from scantling.data.phantoms.skin.lesions import PATTERNS, TRAITS, Lesion
from scantling.data.phantoms.splat import Canvas

MASK_FROM = 0.3
"""Share of the lesion's colour from which a pixel counts as lesion."""

_OUTLINE, _PLACE, _VESSELS = 33, 34, 35
_TURNS = 1024
_BROWN, _BLOOD = np.array([0.66, 0.98, 1.16]), np.array([0.22, 0.95, 0.78])
_COVERS = {
    "veil": np.log([0.45, 0.46, 0.54]), "nests": np.log([0.30, 0.32, 0.40]), "scar": np.log([0.93, 0.80, 0.76]),
    "cysts": np.log([0.95, 0.84, 0.68]), "plugs": np.log([0.22, 0.13, 0.08]), "scale": np.log([0.94, 0.88, 0.74]),
    "ulcer": np.log([0.46, 0.13, 0.10]),
}  # fmt: skip

_ABSORBS = {"network": _BROWN, "globules": _BROWN, "dots": _BLOOD, "lacunae": _BLOOD}
_CELLS = {
    "network": (5.6, 0.0), "globules": (3.8, 0.36), "dots": (6.0, 0.30), "lacunae": (2.3, 0.62), "nests": (1.5, 0.46),
    "cysts": (3.0, 0.27), "plugs": (2.8, 0.30),
}  # fmt: skip
"""Cells a radius of the lesion, and the radius of what lies in a cell as a share of its width."""

_PATCHES = {
    "veil": (0.10, 0.45, 0.60), "scar": (0.20, 0.25, 0.42), "scale": (0.02, 0.60, 0.75), "ulcer": (0.15, 0.35, 0.30),
}  # fmt: skip
"""Least depth below the border, greatest distance from the middle, and radius, all in radii of the lesion."""


class View(NamedTuple):
    """How an image sees a lesion: its middle in pixels, pixels a radius, and its turn in radians."""

    x: float
    y: float
    scale: float
    turn: float


class _Frame(NamedTuple):
    """Positions of all pixels in radii, depth below the border (negative outside) and cover, each ``(H, W)``."""

    x: np.ndarray
    y: np.ndarray
    depth: np.ndarray
    cover: np.ndarray


def paint_lesion(light: np.ndarray, lesion: Lesion, seed: int, view: View) -> np.ndarray:
    """Paint a lesion on the skin; return its mask ``(H, W)`` bool.

    Args:
        light: logarithm of the light, ``(3, H, W)`` float32, changed in place.
        lesion: what to paint.
        seed: number of the set.
        view: where.
    """
    frame = _frame(lesion, seed, view, light.shape[-1])
    rows, columns = (np.flatnonzero(frame.cover.any(axis)) for axis in (1, 0))
    if not len(rows):
        return np.zeros(light.shape[1:], dtype=bool)
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    inside = _Frame(*(part[box] for part in frame))
    part = light[(slice(None), *box)]
    strength = dict(zip(PATTERNS, lesion.patterns.tolist(), strict=True))
    places = generator(seed, _PLACE, lesion.number)
    _paint_pigment(part, lesion, inside, places)
    _paint_cells(part, strength, inside, places)
    _paint_patches(part, strength, inside, places)
    if strength["vessels"]:
        _paint_vessels(light, strength["vessels"], frame.cover, view, generator(seed, _VESSELS, lesion.number))
    return np.asarray(frame.cover > MASK_FROM)


def _frame(lesion: Lesion, seed: int, view: View, size: int) -> _Frame:
    """The lesion's own coordinates, and where it is: a closed outline of uneven waves, notched by noise."""
    traits = dict(zip(TRAITS, lesion.traits.tolist(), strict=True))
    rng = generator(seed, _OUTLINE, lesion.number)
    axis = np.arange(size, dtype=np.float32)
    cos, sin = np.float32(np.cos(view.turn) / view.scale), np.float32(np.sin(view.turn) / view.scale)
    dx, dy = (axis - np.float32(view.x))[None, :], (axis - np.float32(view.y))[:, None]
    x, y = dx * cos + dy * sin, dy * cos - dx * sin
    stretch = np.float32(np.exp(0.5 * traits["elongation"]))
    u, v = x / stretch, y * stretch
    angle = (np.arctan2(v, u) * np.float32(_TURNS / (2 * np.pi))).astype(np.int32) % _TURNS
    wave = np.arange(2, 15)
    theta = np.arange(_TURNS) * (2 * np.pi / _TURNS)
    height = rng.standard_normal((2, len(wave))) * traits["irregularity"] * 1.9 / wave**1.1
    outline = 1 + height[0] @ np.cos(wave[:, None] * theta) + height[1] @ np.sin(wave[:, None] * theta)
    outline += _streaks(lesion.patterns[PATTERNS.index("streaks")], theta, rng)
    blotch, notch = read(clouds(), x * np.float32(0.22), y * np.float32(0.22), 0.0, rng.random(2))
    depth = outline.astype(np.float32)[angle] - np.hypot(u, v)
    depth += np.float32(traits["irregularity"]) * (np.float32(0.5) * notch + np.float32(0.3) * blotch)
    soft = max(traits["softness"], 1.5 / view.scale)
    return _Frame(x, y, depth, step(depth, -0.5 * soft, 0.5 * soft))


def _streaks(strength: float, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Spikes of the outline along a part of the border, ``(turns,)``."""
    if not strength:
        return np.zeros_like(theta)
    where = rng.uniform(0, 2 * np.pi) + rng.uniform(0.5, 2.2) * rng.uniform(-1, 1, rng.integers(6, 16))
    gap = np.abs((theta - where[:, None] + np.pi) % (2 * np.pi) - np.pi)
    spikes = np.exp(-((gap / 0.055) ** 2)) * rng.uniform(0.12, 0.34, (len(where), 1))
    return np.asarray(strength * spikes.max(0))


def _paint_pigment(light: np.ndarray, lesion: Lesion, frame: _Frame, rng: np.random.Generator) -> None:
    """Melanin and blood, in blotches, with a darker pole."""
    traits = dict(zip(TRAITS, lesion.traits.tolist(), strict=True))
    blotch, fine = read(clouds(), frame.x * np.float32(0.16), frame.y * np.float32(0.16), 0.0, rng.random(2))
    turn, far, tint = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.6), rng.normal(0, (0.05, 0.08, 0.12))
    px, py = np.float32(far * np.cos(turn)), np.float32(far * np.sin(turn))
    pole = np.exp(-((frame.x - px) ** 2 + (frame.y - py) ** 2) * np.float32(3.5))
    uneven = 1 + np.float32(traits["variegation"]) * (blotch + np.float32(0.35) * fine)
    brown = np.maximum(uneven, 0) * np.float32(traits["brown"]) + pole * np.float32(0.8 * traits["asymmetry"])
    red = np.maximum(1 - np.float32(traits["variegation"]) * blotch, 0.2) * np.float32(traits["red"])
    brown *= frame.cover
    red *= frame.cover
    for c in range(3):
        light[c] -= np.float32(_BROWN[c] * (1 + tint[c])) * brown + np.float32(_BLOOD[c]) * red


def _paint_cells(light: np.ndarray, strength: dict[str, float], frame: _Frame, rng: np.random.Generator) -> None:
    """Patterns that repeat: what they share is a honeycomb, read at the scale of each."""
    inner = step(frame.depth, 0.02, 0.18)
    for name, (cells, core) in _CELLS.items():
        turn, shift = rng.uniform(0, 2 * np.pi), rng.random(2)
        share, size = rng.uniform(0.25, 0.6), rng.uniform(0.8, 1.25)
        if not strength[name]:
            continue
        scale = np.float32(size * cells / CELLS)
        wall, middle, own = read(honeycomb(), frame.x * scale, frame.y * scale, turn, shift)
        if name == "network":
            rim = 0.45 + 0.55 * step(frame.depth, 0.75, 0.25)
            amount = (step(wall, 0.20, 0.06) - np.float32(0.25)) * inner * rim
        elif name == "lacunae":
            amount = (step(middle, core, 0.55 * core) * (0.5 + 0.5 * own) - np.float32(0.15)) * inner
        else:
            amount = step(middle, core, 0.55 * core) * (own < share) * inner
        amount *= np.float32(strength[name])
        for c in range(3):
            if name in _ABSORBS:
                light[c] -= np.float32(0.75 * _ABSORBS[name][c]) * amount
            else:
                light[c] += np.float32(0.85) * amount * (np.float32(_COVERS[name][c]) - light[c])


def _paint_patches(light: np.ndarray, strength: dict[str, float], frame: _Frame, rng: np.random.Generator) -> None:
    """Patterns that cover a part: veil, scar, scale, ulcer."""
    for name, (inset, freedom, reach) in _PATCHES.items():
        where, turn = rng.uniform(-1, 1, 2) * freedom, rng.uniform(0, 2 * np.pi)
        shift, width = rng.random(2), rng.uniform(0.7, 1.3)
        if not strength[name]:
            continue
        gap = np.hypot(frame.x - np.float32(where[0]), frame.y - np.float32(where[1])) / np.float32(width * reach)
        wide, fine = read(clouds(), frame.x * np.float32(0.3), frame.y * np.float32(0.3), turn, shift)
        if name == "scale":
            amount = step(fine + np.float32(0.4) * wide - np.float32(0.9) * gap, -0.4, 0.7)
        else:
            amount = step(1 - gap + np.float32(0.25) * wide, 0.0, 0.3 if name == "ulcer" else 1.0)
        amount *= step(frame.depth, inset - 0.08, inset + 0.10) * np.float32(0.2 + 0.55 * strength[name])
        for c in range(3):
            light[c] += amount * (np.float32(_COVERS[name][c]) - light[c])


def _paint_vessels(light: np.ndarray, strength: float, cover: np.ndarray, view: View, rng: np.random.Generator) -> None:
    """Branching vessels: trunks that come in from the border, and twigs that leave them."""
    t = np.linspace(0, 1, 14)
    trunks, twigs = int(rng.integers(2, 5)), 4
    start, bend = rng.uniform(0, 2 * np.pi, (trunks, 1)), rng.normal(0, 0.9, (trunks, 1))
    angle = start + np.pi + rng.normal(0, 0.4, (trunks, 1)) + bend * t + 0.35 * np.sin(9 * t + 7 * start)
    trunk = np.stack([np.cos(start), np.sin(start)], -1) + _walk(angle, 1.3)
    foot = rng.integers(2, 11, (trunks, twigs))
    side = rng.choice([-1, 1], (trunks, twigs)) * rng.uniform(0.5, 1.1, (trunks, twigs))
    lean = np.take_along_axis(angle, foot, 1) + side
    twig = np.take_along_axis(trunk, foot[..., None], 1)[:, :, None] + _walk(
        lean[..., None] + rng.normal(0, 0.7, (trunks, twigs, 1)) * t, 0.55
    )
    paths = np.concatenate([trunk, twig.reshape(-1, len(t), 2)])
    first = np.r_[np.full(trunks, 0.030), np.full(trunks * twigs, 0.017)]
    width = view.scale * first[:, None] * (1.05 - 0.75 * t)
    cos, sin = np.cos(view.turn), np.sin(view.turn)
    pixels = np.stack([view.x + view.scale * (paths[..., 0] * cos - paths[..., 1] * sin),
                       view.y + view.scale * (paths[..., 0] * sin + paths[..., 1] * cos)], -1)  # fmt: skip
    canvas = Canvas(light.shape[-1], 1)
    none = np.zeros(len(paths))
    canvas.tubes(pixels, width, np.clip(1.6 * width, 0.3, 1.0), none.astype(np.intp), none)
    amount = canvas.layers[0] * cover * np.float32(strength)
    for c in range(3):
        light[c] -= np.float32(0.9 * _BLOOD[c]) * amount


def _walk(angle: np.ndarray, length: float) -> np.ndarray:
    """Points ``(..., T, 2)`` of a walk from the origin with these headings ``(..., T)``."""
    steps = np.stack([np.cos(angle), np.sin(angle)], -1) * (length / angle.shape[-1])
    return np.cumsum(steps, -2)
