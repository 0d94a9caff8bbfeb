"""The retina without vessels and lesions: pigment, choroid, macula, optic disc and cup.

Light is kept as its logarithm, channel by channel, so that layers that absorb (pigment, blood) are subtracted.
"""

from __future__ import annotations

import numpy as np

from scantling.data.phantoms.eyes import Eye
from scantling.data.phantoms.optics import View
from scantling.data.phantoms.textures import FANS, choroid_bank, cut, flip, texture_bank

_BLOND, _DARK = np.log([0.74, 0.37, 0.20]), np.log([0.58, 0.25, 0.095])
_RIM, _CUP = np.log([1.16, 0.70, 0.36]), np.log([1.34, 1.00, 0.58])


def to_pixels(points: np.ndarray, eye: Eye, view: View) -> np.ndarray:
    """Pixels ``(..., 2)`` of ``points`` given in radii of the field of view for a right eye."""
    return np.array([view.x, view.y]) + view.radius * (np.asarray(points) * (eye.side, 1))


def paint_fundus(eye: Eye, view: View, size: int, rng: np.random.Generator) -> np.ndarray:
    """Logarithm of the light ``(3, size, size)`` that an empty fundus sends back: choroid, pigment, macula, sheen."""
    bank = texture_bank(size)
    axis = np.arange(size, dtype=np.float32)
    x, y = (axis - view.x) / view.radius * eye.side, (axis - view.y) / view.radius
    (dx, dy), (fx, fy), span = eye.disc, eye.fovea, eye.span
    colour = _BLOND + eye.pigment * (_DARK - _BLOND) + np.asarray(eye.tint) + rng.normal(0, (0.01, 0.02, 0.04))
    core = _bump(x - fx, y - fy, 0.105 * span * rng.uniform(0.8, 1.2))
    macula = _bump(x - fx, y - fy, 0.30 * span * rng.uniform(0.85, 1.2))
    glow = _bump(x - dx, y - dy, 0.42 * span)
    cloud = cut(bank["cloud"], size, rng)
    mottle = cut(bank["mottle"], size, rng)
    choroid = _fan(eye, view, size, rng)
    blotch = cut(bank["cloud"], size, rng)
    low = np.clip(0.35 + 0.8 * (x**2)[None, :] + (0.8 * y**2 + 0.35 * y)[:, None], 0, 1.3)
    shown = (low * (1 - 0.85 * macula)) * np.float32(
        (0.10 + 0.9 * (1 - abs(2 * eye.pigment - 0.8)) ** 2 * eye.age) * 0.9
    )
    net = shown * choroid * np.clip(0.6 + 0.6 * blotch, 0, 1.6)
    dark, deep = rng.uniform(0.20, 0.45), rng.uniform(0.25, 0.65)
    sheen = (1 - eye.age) * rng.uniform(0.1, 0.5)
    ring = glow - _bump(x - dx, y - dy, 0.16 * span)
    out = np.empty((3, size, size), dtype=np.float32)
    for c, (tess, soft, fine, mac, fov, shine) in enumerate(
        [
            (0.08, 0.04, 0.012, 0.45, 0.45, 0.25),
            (0.13, 0.07, 0.026, 1.0, 0.9, 0.75),
            (0.03, 0.09, 0.03, 1.1, 0.6, 1.3),
        ]
    ):
        plane = out[c]
        np.multiply(net, np.float32(tess), out=plane)
        plane += np.float32(soft) * cloud
        plane += np.float32(fine) * mottle
        plane -= np.float32(mac * dark) * macula
        plane -= np.float32(fov * deep) * core
        plane += np.float32(0.14 * (1 + 0.4 * c)) * glow
        plane += np.float32(shine * sheen) * ring
        plane += np.float32(colour[c])
    if eye.age < 0.15:
        spot = _bump(x - fx, y - fy, 0.014)
        out += spot * np.array([0.25, 0.45, 0.5], dtype=np.float32)[:, None, None]
    return out


def paint_disc(log_light: np.ndarray, eye: Eye, view: View, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paint the optic disc with its cup into ``log_light (3, H, W)``; return their masks ``(H, W)`` bool."""
    size = log_light.shape[-1]
    masks = np.zeros((2, size, size), dtype=bool)
    centre = to_pixels(np.asarray(eye.disc), eye, view)
    radius = eye.disc_radius * view.radius
    reach = int(np.ceil(1.9 * radius)) + 2
    left, top = np.clip(np.rint(centre).astype(int) - reach, 0, size)
    right, bottom = np.clip(np.rint(centre).astype(int) + reach + 1, 0, size)
    rows, columns = slice(top, bottom), slice(left, right)
    u = ((np.arange(left, right, dtype=np.float32) - centre[0]) * eye.side / radius)[None, :]
    v = ((np.arange(top, bottom, dtype=np.float32) - centre[1]) / radius)[:, None]
    tall = rng.uniform(1.02, 1.16)
    a, b, turn = rng.normal(0, 0.018), rng.normal(0, 0.018), rng.uniform(0, np.pi)
    v = v / tall
    far = np.sqrt(u * u + v * v)
    angle = np.arctan2(v, u)
    edge = 1 + a * np.cos(2 * angle + turn) + b * np.cos(3 * angle + turn)
    rho = far / edge
    shift = rng.normal((-0.05, 0.0), 0.04)
    cu, cv = u - shift[0], v - shift[1]
    cup_rho = np.sqrt(cu * cu + cv * cv) / eye.cup_ratio * (1 + 0.06 * np.cos(3 * angle + turn))
    soft = max(0.055, 1.0 / radius) * rng.uniform(0.8, 1.5)
    inside = _step((1 - rho) / soft)
    hollow = _step((1 - cup_rho) / rng.uniform(0.35, 0.9)) * _step((0.93 - rho) / 0.05)
    masks[0, rows, columns] = rho <= 1
    masks[1, rows, columns] = (cup_rho <= 1) & (rho <= 0.93)
    temporal = np.clip(-u, 0, 1)
    crescent = rng.random() < 0.35
    halo = np.exp(-np.clip(rho - 1, 0, None) * rng.uniform(5, 9)) * (rho > 1) * np.clip(-u + 0.2, 0, 1) * crescent
    pale = rng.uniform(0.5, 1.0)
    rim_level, cup_level = rng.normal(0, 0.09, 2)
    for c in range(3):
        patch = log_light[c, rows, columns]
        patch += np.float32(0.32 * (1 + 0.3 * c)) * halo
        patch -= np.float32(0.06 * (1 + 0.5 * c)) * np.exp(-((rho - 1.06) ** 2) / 0.004)
        rim = np.float32(_RIM[c] + rim_level) + np.float32((0.04, 0.16, 0.22)[c]) * temporal - 0.10 * (far - 0.5)
        nerve = rim + hollow * np.float32(pale * (_CUP[c] - _RIM[c]) + cup_level)
        patch += inside * (nerve - patch)
    return masks[0], masks[1]


def _fan(eye: Eye, view: View, size: int, rng: np.random.Generator) -> np.ndarray:
    """The choroidal net ``(size, size)``, fanning out from between disc and fovea."""
    field = flip(choroid_bank(size)[rng.integers(0, FANS)], int(rng.integers(0, 4)))
    heart = to_pixels(0.6 * np.asarray(eye.disc) + 0.4 * np.asarray(eye.fovea), eye, view)
    left, top = np.clip(np.rint(size - heart).astype(int), 0, size)
    return field[top : top + size, left : left + size]


def _bump(x: np.ndarray, y: np.ndarray, width: float) -> np.ndarray:
    """A Gaussian hill on the grid of ``y`` by ``x``."""
    return np.exp(-0.5 * (y / width) ** 2)[:, None].astype(np.float32) * np.exp(-0.5 * (x / width) ** 2)[None, :]


def _step(t: np.ndarray) -> np.ndarray:
    """0 below -0.5, 1 above 0.5, smooth between."""
    t = np.clip(t + 0.5, 0, 1)
    return t * t * (3 - 2 * t)
