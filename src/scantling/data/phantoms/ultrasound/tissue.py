"""Echoes of a head, an abdomen or a thigh in decibels (0 is white), and the shadows that bone casts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scantling.data.phantoms.patterns import clouds, read, step
from scantling.data.phantoms.ultrasound.fetus import Shape
from scantling.data.phantoms.ultrasound.scanner import Beams, shade

FLUID = -58.0


class Local(NamedTuple):
    """Coordinates of pixels in a shape, ``(H, W)``: along its longer axis, across it, and mm outside its border."""

    along: np.ndarray
    across: np.ndarray
    outside: np.ndarray


def paint(shape: Shape, where: Beams, rng: np.random.Generator) -> np.ndarray:
    """Echoes of a frame, ``(H, W)`` float32."""
    painters = {"head": _head, "abdomen": _abdomen, "femur": _femur}
    return painters[shape.plane](_surroundings(shape, where, rng), shape, where, rng)


def local(shape: Shape, where: Beams) -> Local:
    """Pixels seen from a shape."""
    x, y = where.x - np.float32(shape.x), where.y - np.float32(shape.y)
    cos, sin = np.float32(np.cos(shape.angle)), np.float32(np.sin(shape.angle))
    along, across = x * cos + y * sin, y * cos - x * sin
    a, b = (np.float32(v) for v in shape.semi_axes)
    if shape.plane == "femur":
        return Local(along, across, np.maximum(np.abs(along) - a, np.abs(across) - b))
    slope = np.hypot(along / (a * a), across / (b * b)) + np.float32(1e-6)
    return Local(along, across, ((along / a) ** 2 + (across / b) ** 2 - 1) / (2 * slope))


def _surroundings(shape: Shape, where: Beams, rng: np.random.Generator) -> np.ndarray:
    """Layers of the mother under the probe, the wall of the womb, fluid round the fetus, placenta."""
    scale = np.float32(1 / 160)
    broad, fine = read(clouds(), where.x * scale, where.y * scale, rng.uniform(0, 6.3), rng.random(2))
    echoes = np.float32(rng.uniform(-30, -24)) + 2.5 * broad + 2.0 * fine
    layers = float(rng.uniform(5, 9))
    echoes += (
        5 * np.sin(where.depth * np.float32(rng.uniform(0.9, 1.5)) + 0.6 * broad) * step(where.depth, 2 * layers, 0)
    )
    echoes += 12 * step(where.depth, 3.5, 0)
    # A pocket of fluid, wider than the fetus, with a bright wall.
    reach = max(shape.semi_axes[0], 20.0)
    px, py = shape.x + rng.normal(0, 0.35) * reach, shape.y + rng.normal(0, 0.25) * reach
    rx, ry = reach * rng.uniform(1.0, 1.9), reach * rng.uniform(0.75, 1.25)
    pocket = np.hypot((where.x - px) / rx, (where.y - py) / ry) - 1 + 0.10 * broad
    inside = step(pocket, 0.03, -0.03) * np.float32(rng.choice([1.0, 0.55, 0.0], p=[0.5, 0.3, 0.2]))
    echoes += inside * (FLUID - echoes) + 8 * np.exp(-((pocket / 0.04) ** 2)) * (inside.max() > 0)
    return echoes.astype(np.float32)


def _specular(shape: Shape, where: Beams, seen: Local) -> np.ndarray:
    """How squarely the beam meets the border, ``(H, W)`` in [0, 1]: only what meets it squarely comes back."""
    a, b = shape.semi_axes
    nx, ny = seen.along / (a * a), seen.across / (b * b)
    size = np.hypot(nx, ny) + np.float32(1e-6)
    cos, sin = np.cos(shape.angle), np.sin(shape.angle)
    gx, gy = (nx * cos - ny * sin) / size, (nx * sin + ny * cos) / size
    return np.asarray(np.abs(gx * np.sin(where.turn) + gy * np.cos(where.turn)))


def _head(echoes: np.ndarray, shape: Shape, where: Beams, rng: np.random.Generator) -> np.ndarray:
    """Skull, brain, midline with the cavum, a ventricle, thalami; dropouts where the beam grazes the skull."""
    seen = local(shape, where)
    a, b = shape.semi_axes
    thick = float(np.clip(0.07 * b, 1.2, 4.2) * rng.uniform(0.8, 1.25))
    broad, fine = read(clouds(), seen.along / (2.2 * a), seen.across / (2.2 * a), 0.0, rng.random(2))
    brain = np.float32(rng.uniform(-46, -38)) + 2.0 * broad + 2.0 * fine
    brain += 7 * np.exp(-(((seen.outside + 2.5 * thick) / (1.2 * thick)) ** 2))
    thalami = 4 * np.exp(
        -(((seen.along + 0.1 * a) / (0.16 * a)) ** 2 + ((np.abs(seen.across) - 0.2 * b) / (0.13 * b)) ** 2)
    )
    brain -= thalami
    ventricle = ((seen.along + 0.38 * a) / (0.30 * a)) ** 2 + ((seen.across - 0.38 * b) / (0.12 * b)) ** 2
    brain += step(ventricle, 1.1, 0.7) * (FLUID + 4 - brain) + 10 * np.exp(-(((ventricle - 1.05) / 0.18) ** 2))
    plexus = ((seen.along + 0.52 * a) / (0.13 * a)) ** 2 + ((seen.across - 0.38 * b) / (0.085 * b)) ** 2
    brain += step(plexus, 1.2, 0.6) * (np.float32(-24) - brain)
    bend = np.float32(rng.normal(0, 0.01) * a) * np.cos(seen.along / np.float32(0.5 * a))
    gap = np.abs(seen.along - 0.42 * a) < 0.16 * a
    width = np.float32(max(0.45, 0.012 * b))
    broken = step(read(clouds(), seen.along / (2.2 * a), np.zeros_like(seen.along), 0.0, rng.random(2))[1], -1.2, 0.2)
    midline = (
        np.exp(-(((seen.across - bend) / width) ** 2)) * broken * ~gap * step(np.abs(seen.along), 0.95 * a, 0.85 * a)
    )
    brain += midline * (np.float32(rng.uniform(-18, -10)) - brain)
    # The cavum: a small box of fluid in the front third of the midline, between two bright lines.
    box = np.maximum(np.abs(seen.along - 0.42 * a) / (0.13 * a), np.abs(seen.across) / (0.06 * b))
    brain += step(box, 1.15, 0.85) * (FLUID + 4 - brain)
    walls = np.exp(-(((np.abs(seen.across) - 0.075 * b) / width) ** 2)) * (np.abs(seen.along - 0.42 * a) < 0.15 * a)
    brain += walls * (np.float32(-16) - brain)
    echoes = echoes + step(seen.outside, 0.4, -0.4) * (brain - echoes)
    square = _specular(shape, where, seen)
    bone = np.float32(rng.uniform(-6, 0)) - np.float32(rng.uniform(20, 34)) * (1 - square) ** 1.2
    ring = step(seen.outside, 0.35, -0.35) * step(seen.outside, -1.25 * thick, -0.75 * thick)
    echoes += ring * (np.maximum(bone, echoes) - echoes)
    # Skin and what lies on it, just outside.
    echoes += 6 * np.exp(-(((seen.outside - 1.4 * thick) / (0.6 * thick)) ** 2)) * square
    # Bone takes a part of the beam each time it is crossed; at its sides it bends the beam away.
    behind = where.depth > np.float32(np.hypot(shape.x, shape.y))
    echoes -= np.float32(rng.uniform(2, 6)) * step(seen.outside, 0.0, -thick)
    echoes -= np.float32(rng.uniform(3, 8)) * (behind & (seen.outside > 0)) * _crossed(shape, where)
    return _side_shadows(echoes, shape, where, rng)


def _crossed(shape: Shape, where: Beams) -> np.ndarray:
    """Beams that meet the shape, ``(H, W)`` bool."""
    low, high = _tangents(shape, where)
    return (where.turn > low) & (where.turn < high)


def _tangents(shape: Shape, where: Beams) -> tuple[float, float]:
    """Turn of the first and last beam that touch the shape."""
    around = np.linspace(0, 2 * np.pi, 180)
    a, b = shape.semi_axes
    cos, sin = np.cos(shape.angle), np.sin(shape.angle)
    x = shape.x + a * np.cos(around) * cos - b * np.sin(around) * sin
    y = shape.y + a * np.cos(around) * sin + b * np.sin(around) * cos
    turns = np.arctan2(x, y + _radius(where))
    return float(turns.min()), float(turns.max())


def _radius(where: Beams) -> float:
    """Radius of the probe, from any pixel of the frame."""
    return float(where.x[-1, 0] / np.tan(where.turn[-1, 0]) - where.y[-1, 0])


def _side_shadows(echoes: np.ndarray, shape: Shape, where: Beams, rng: np.random.Generator) -> np.ndarray:
    middle = float(np.hypot(shape.x, shape.y + _radius(where))) - _radius(where)
    for turn in _tangents(shape, where):
        width = float(rng.uniform(0.015, 0.04))
        echoes = echoes + shade(where, (turn - width, turn + width), middle, float(rng.uniform(4, 14)), 0.02)
    return echoes


def _abdomen(echoes: np.ndarray, shape: Shape, where: Beams, rng: np.random.Generator) -> np.ndarray:
    """Skin, liver, stomach bubble, umbilical vein, spine with its shadow, ribs."""
    seen = local(shape, where)
    a, b = shape.semi_axes
    side = float(rng.choice([-1, 1]))
    spine_turn = float(rng.uniform(0, 2 * np.pi))
    cos, sin = np.cos(spine_turn), np.sin(spine_turn)
    # Towards the spine, and across it, as shares of the radius.
    ahead = (seen.along * cos / a + seen.across * sin / b).astype(np.float32)
    aside = (side * (seen.across * cos / b - seen.along * sin / a)).astype(np.float32)
    broad, fine = read(clouds(), seen.along / (2.5 * a), seen.across / (2.5 * a), 0.0, rng.random(2))
    body = np.float32(rng.uniform(-36, -28)) + 2.0 * broad + 2.0 * fine
    stomach = ((ahead - 0.05 + 0.08 * broad) / 0.24) ** 2 + ((aside - 0.42) / rng.uniform(0.15, 0.24)) ** 2
    body += step(stomach, 1.15, 0.85) * (FLUID - body)
    vein = ((aside + 0.06 + 0.5 * (ahead + 0.35) ** 2) / 0.045) ** 2 + ((ahead + 0.38) / 0.26) ** 4
    body += step(vein, 1.25, 0.75) * (FLUID + 3 - body) + 8 * np.exp(-(((vein - 1.2) / 0.25) ** 2))
    aorta = ((ahead - 0.46) / 0.06) ** 2 + ((aside - 0.10) / 0.06) ** 2
    body += step(aorta, 1.25, 0.75) * (FLUID + 3 - body) + 6 * np.exp(-(((aorta - 1.2) / 0.3) ** 2))
    for centre, height in ((0.66, -4.0), (0.78, -8.0)):
        for off in (-0.085, 0.085) if centre > 0.7 else (0.0,):
            spot = ((ahead - centre) / 0.05) ** 2 + ((aside - off) / 0.05) ** 2
            body += step(spot, 1.6, 0.5) * (np.float32(height) - body)
    ribs = np.exp(-(((seen.outside + 0.10 * b) / (0.018 * b)) ** 2)) * step(
        np.cos(5 * np.arctan2(aside, ahead)), 0.6, 0.95
    )
    body += ribs * (np.float32(-14) - body)
    echoes = echoes + step(seen.outside, 0.4, -0.4) * (body - echoes)
    square = _specular(shape, where, seen)
    skin = np.float32(rng.uniform(-20, -12)) - np.float32(rng.uniform(8, 18)) * (1 - square) ** 1.2
    thick = float(np.clip(0.045 * b, 1.0, 2.6))
    ring = step(seen.outside, 0.35, -0.35) * step(seen.outside, -1.3 * thick, -0.7 * thick)
    echoes += ring * (np.maximum(skin, echoes) - echoes)
    sx, sy = a * 0.70 * cos, b * 0.70 * sin
    x = shape.x + sx * np.cos(shape.angle) - sy * np.sin(shape.angle)
    y = shape.y + sx * np.sin(shape.angle) + sy * np.cos(shape.angle)
    radius = _radius(where)
    turn, depth = float(np.arctan2(x, y + radius)), float(np.hypot(x, y + radius)) - radius
    width = 0.10 * b / (depth + radius)
    echoes += shade(where, (turn - width, turn + width), depth + 0.05 * b, float(rng.uniform(10, 20)), 0.012)
    return _side_shadows(echoes, shape, where, rng)


def _femur(echoes: np.ndarray, shape: Shape, where: Beams, rng: np.random.Generator) -> np.ndarray:
    """A thigh with the shaft of its bone, bright where the beam meets it, and the shadow behind it."""
    seen = local(shape, where)
    a, b = shape.semi_axes
    broad, fine = read(clouds(), seen.along / (6 * a), seen.across / (2.2 * a), 0.0, rng.random(2))
    thigh = ((seen.along - 0.05 * a) / (1.55 * a)) ** 2 + ((seen.across - rng.normal(0, 0.1) * a) / (0.62 * a)) ** 2
    muscle = np.float32(rng.uniform(-38, -31)) + 2.0 * broad + 4.0 * fine
    echoes = echoes + step(thigh, 1.08, 0.92) * (muscle - echoes)
    echoes += 9 * np.exp(-(((thigh - 1.0) / 0.06) ** 2))
    # Cartilage at both ends sends back little.
    for end in (-1, 1):
        knob = ((seen.along - end * (a + 1.6 * b)) / (1.5 * b)) ** 2 + (seen.across / (1.7 * b)) ** 2
        echoes += step(knob, 1.2, 0.7) * (np.float32(-44) - echoes)
    radius = _radius(where)
    cos, sin = np.cos(shape.angle), np.sin(shape.angle)
    ends = [(shape.x + s * a * cos, shape.y + s * a * sin) for s in (-1, 1)]
    turns = tuple(float(np.arctan2(x, y + radius)) for x, y in ends)
    # Depth at which each beam crosses the line of the shaft.
    ux, uy = np.sin(where.turn), np.cos(where.turn)
    facing = np.maximum(np.abs(uy * cos - ux * sin), 0.2) * np.sign(uy * cos - ux * sin)
    crossing = ((shape.y + radius) * cos - shape.x * sin) / facing - radius
    echoes += shade(where, (turns[0], turns[1]), crossing + b, float(rng.uniform(9, 18)), 0.008)
    square = abs(float(np.cos(shape.angle + np.arctan2(shape.x, shape.y + radius))))
    bone = np.float32(rng.uniform(-7, -1) - 14 * (1 - square)) + np.float32(1.5) * fine
    # Brightest at the side that the beam meets first, and a little fainter where the shaft widens at its ends.
    bone = bone - 12 * step(seen.across, -0.6 * b, 1.1 * b) - 4 * step(np.abs(seen.along), 0.7 * a, a)
    cover = step(seen.outside, 0.30, -0.30)
    echoes += cover * (bone - echoes)
    return echoes
