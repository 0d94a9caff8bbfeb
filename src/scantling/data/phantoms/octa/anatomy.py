"""The vessels of a macula, 3 x 3 mm seen from the front: a zone without vessels, a mesh round it, arterioles, venules.

Positions are in millimetres from the middle of the fovea; light is flow, from 0 (none) to about 1 (the widest vessels).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scantling.data.phantoms.lattice import generator
from scantling.data.phantoms.patterns import CELLS, clouds, honeycomb, read, step
from scantling.data.phantoms.splat import Canvas

FIELD = 3.0
"""Side of the frame in millimetres."""

_ZONE, _TREE, _MESH = 70, 71, 72
_TURNS = 720
_POINTS = 40
_TWIG_POINTS = 16
_CELL = 0.088
"""Mean distance between capillaries, in millimetres."""


class Macula(NamedTuple):
    """What there is to see, each ``(H, W)``.

    Args:
        flow: light of the vessels, float32.
        vessel: pixels on a vessel, bool.
        zone: pixels of the foveal avascular zone, bool.
    """

    flow: np.ndarray
    vessel: np.ndarray
    zone: np.ndarray


def draw_macula(seed: int, eye: int, centre: np.ndarray, size: int) -> Macula:
    """One eye, whose fovea lies at ``centre (2,)`` millimetres from the middle of the frame.

    Args:
        seed: number of the set.
        eye: number of the eye: the same vessels, wherever they lie.
        centre: right and down.
        size: side in pixels.
    """
    axis = ((np.arange(size, dtype=np.float32) + np.float32(0.5)) / size - np.float32(0.5)) * np.float32(FIELD)
    x, y = np.broadcast_arrays((axis - np.float32(centre[0]))[None, :], (axis - np.float32(centre[1]))[:, None])
    outline, radius = _outline(generator(seed, _ZONE, eye))
    gap = _gap(x, y, outline)
    large, halo, solid = _trees(generator(seed, _TREE, eye), centre, outline, radius, size)
    mesh, on_mesh = _mesh(generator(seed, _MESH, eye), x, y, gap, size)
    flow = np.maximum(mesh * (1 - np.float32(0.75) * halo), large)
    vessel = (on_mesh & (halo < 0.5)) | solid
    return Macula(flow, vessel, (gap < 0) & ~vessel)


def _outline(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Radius of the zone in every direction ``(turns,)``, and its mean, in millimetres."""
    radius = float(np.clip(rng.normal(0.30, 0.06), 0.17, 0.44))
    theta = np.arange(_TURNS) * (2 * np.pi / _TURNS)
    wave = np.arange(2, 16)
    height = rng.standard_normal((2, len(wave))) * 0.12 / wave**0.9
    around = 1 + height[0] @ np.cos(wave[:, None] * theta) + height[1] @ np.sin(wave[:, None] * theta)
    return radius * np.clip(around, 0.55, 1.6), radius


def _gap(x: np.ndarray, y: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """How far points lie outside of the zone, negative within it, float32 like ``x``."""
    turn = (np.arctan2(y, x) * np.float32(_TURNS / (2 * np.pi))).astype(np.int32) % _TURNS
    return np.hypot(x, y) - outline.astype(np.float32)[turn]


def _mesh(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, gap: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Light of the capillaries ``(H, W)`` and where they are: two layers of cells, bent, that end in an arcade."""
    pixel = FIELD / size / _CELL
    bend = np.float32(0.04)
    light, there = np.zeros_like(x), np.zeros(x.shape, dtype=bool)
    for strength, width in ((0.56, 0.10), (0.26, 0.08)):
        turn, place, flow = rng.uniform(0, 2 * np.pi), rng.random(2), rng.random(2)
        sway, fine = read(clouds(), x * np.float32(0.5), y * np.float32(0.5), 0.0, flow)
        across = read(clouds(), x * np.float32(0.5), y * np.float32(0.5), 1.0, place)[0]
        scale = np.float32(1 / (_CELL * rng.uniform(0.9, 1.12) * CELLS))
        wall, _, own = read(honeycomb(), (x + bend * sway) * scale, (y + bend * across) * scale, turn, place)
        line = step(wall, width + 0.9 * pixel, max(width - 0.5 * pixel, 0.0))
        patchy = np.float32(0.85) + np.float32(0.14) * fine + np.float32(0.35) * (own - np.float32(0.5))
        light = np.maximum(light, np.float32(strength) * line * np.clip(patchy, 0.15, 1.2))
        there |= (wall < max(width, 0.5 * pixel)) & (strength > 0.4)
    arcade = np.exp(-((gap / np.float32(0.016)) ** 2)) * np.float32(0.42)
    light = np.maximum(light * step(gap, 0.0, 0.03), arcade)
    return light, (there & (gap > 0)) | (np.abs(gap) < max(0.012, 0.5 * FIELD / size))


def _trees(
    rng: np.random.Generator, centre: np.ndarray, outline: np.ndarray, zone: float, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Light of arterioles and venules, the strip free of capillaries beside them, their pixels, ``(H, W)`` each."""
    count = int(rng.integers(7, 11))
    first = rng.uniform(0, 2 * np.pi) + 2 * np.pi * (np.arange(count) + rng.uniform(-0.3, 0.3, count)) / count
    along = np.linspace(0, 1, _POINTS)
    start, end = rng.uniform(2.4, 2.9, (count, 1)), zone + rng.uniform(0.10, 0.75, (count, 1))
    swirl = rng.normal(0, 0.30, (count, 1)) * along + 0.035 * np.sin(
        along * rng.uniform(7, 15, (count, 1)) + rng.uniform(0, 6.3, (count, 1))
    )
    far = start + (end - start) * along
    trunk = np.stack([far * np.cos(first[:, None] + swirl), far * np.sin(first[:, None] + swirl)], -1)
    width = rng.uniform(0.026, 0.043, (count, 1)) * (1 - 0.72 * along)
    twig, twig_width = _twigs(rng, trunk, width, outline)
    pixels = size / FIELD
    canvas = Canvas(size, 2)
    artery = np.arange(count) % 2
    for points, radius, bright in (
        (trunk, width, np.where(artery, 1.0, 0.9)),
        (twig, twig_width, np.repeat(np.where(artery, 0.86, 0.78), len(twig) // count)),
    ):
        place = (points + centre + FIELD / 2) * pixels - 0.5
        none, layer = np.zeros(len(points)), np.zeros(len(points), dtype=np.intp)
        value = np.broadcast_to(bright[:, None], radius.shape)
        strip = np.where(radius > 0, radius + 0.030, 0)
        solid = canvas.solid.copy()
        canvas.tubes(place, strip * pixels, np.ones(strip.shape), layer + 1, none)
        canvas.solid[:] = solid
        canvas.tubes(place, radius * pixels, value, layer, none)
    return canvas.layers[0].copy(), canvas.layers[1].copy(), canvas.solid.copy()


def _twigs(
    rng: np.random.Generator, trunk: np.ndarray, width: np.ndarray, outline: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Branches ``(twigs, T, 2)`` that leave the trunks to both sides, with radii ``(twigs, T)``; none in the zone."""
    count, each = len(trunk), 9
    foot = np.sort(rng.integers(4, _POINTS - 1, (count, each)), axis=1)
    heading = np.diff(trunk, axis=1, append=2 * trunk[:, -1:] - trunk[:, -2:-1])
    angle = np.take_along_axis(np.arctan2(heading[..., 1], heading[..., 0]), foot, 1)
    side = np.where(np.arange(each) % 2, 1, -1) * rng.uniform(0.45, 1.0, (count, each))
    along = np.linspace(0, 1, _TWIG_POINTS)
    turn = rng.normal(0, 0.5, (count, each, 1)) * along + 0.25 * np.sin(
        along * 9 + rng.uniform(0, 6.3, (count, each, 1))
    )
    bearing = (angle + side)[..., None] - 0.6 * side[..., None] * along + turn
    length = rng.uniform(0.3, 1.0, (count, each, 1)) / _TWIG_POINTS
    steps = np.stack([np.cos(bearing), np.sin(bearing)], -1) * length[..., None]
    start = np.take_along_axis(trunk, foot[..., None], 1)
    points = start[:, :, None] + np.cumsum(steps, 2) - steps[:, :, :1]
    radius = 0.62 * np.take_along_axis(width, foot, 1)[..., None] * (1 - 0.6 * along)
    points, radius = points.reshape(-1, _TWIG_POINTS, 2), radius.reshape(-1, _TWIG_POINTS)
    inside = _gap(points[..., 0], points[..., 1], outline) < 0.02
    return points, np.where(np.maximum.accumulate(inside, 1), 0, radius)
