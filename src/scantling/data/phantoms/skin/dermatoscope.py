"""Dermatoscopes, and what lies between them and the lesion: hair, rulers, bubbles, ink, a black frame.

A site is a dermatoscope: its colours, magnification and sharpness, and how often its photographs show each artefact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scantling.data.phantoms.splat import Canvas

ARTEFACTS = ("hair", "ruler", "bubbles", "ink", "frame")


@dataclass(frozen=True)
class Dermatoscope:
    """A device and the habits of those who use it.

    Args:
        zoom: magnification.
        gain: of red, green and blue.
        vignette: loss of light in the corners, share.
        blur: standard deviation of the point spread, in sides of the picture.
        noise: standard deviation of the sensor noise, full scale 1.
        shine: strength of reflections from the skin, 0 with crossed polarisers.
        odds: probability of every one of :data:`ARTEFACTS` save hair, which is the patient's.
    """

    zoom: float = 1.0
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    vignette: float = 0.2
    blur: float = 0.0025
    noise: float = 0.010
    shine: float = 0.0
    odds: tuple[float, float, float, float] = (0.12, 0.15, 0.06, 0.15)


DEVICES = (
    Dermatoscope(1.00, (1.00, 1.00, 1.00), 0.22, 0.0025, 0.010, 0.3, (0.12, 0.18, 0.06, 0.12)),
    Dermatoscope(1.20, (1.02, 0.90, 0.97), 0.10, 0.0020, 0.007, 0.0, (0.05, 0.05, 0.02, 0.02)),
    Dermatoscope(0.85, (0.96, 0.98, 0.84), 0.45, 0.0045, 0.016, 0.6, (0.20, 0.25, 0.12, 0.55)),
    Dermatoscope(1.05, (0.90, 0.98, 1.12), 0.30, 0.0060, 0.020, 0.2, (0.30, 0.10, 0.10, 0.25)),
)
"""The devices of the sites; a set with more sites uses them again with other colours."""

_INK = np.log([0.36, 0.30, 0.62])


def device_of(site: int) -> Dermatoscope:
    """The dermatoscope of a site, the same in every set."""
    base = DEVICES[site % len(DEVICES)]
    if site < len(DEVICES):
        return base
    rng = np.random.default_rng([site])
    red, green, blue = (float(g) for g in np.asarray(base.gain) * np.exp(rng.normal(0, (0.03, 0.06, 0.10))))
    return Dermatoscope(base.zoom, (red, green, blue), base.vignette, base.blur, base.noise, base.shine, base.odds)


def choose_artefacts(device: Dermatoscope, hair: float, rng: np.random.Generator) -> dict[str, float]:
    """Artefacts of a photograph with their strengths in (0, 1].

    Args:
        device: says how often each is seen.
        hair: of the patient's skin, 0 to 1.
        rng: source of the draws.
    """
    draws, strengths = rng.random(len(ARTEFACTS)), rng.uniform(0.3, 1.0, len(ARTEFACTS))
    odds = (min(1.0, 1.6 * hair), *device.odds)
    return {name: float(s) for name, d, p, s in zip(ARTEFACTS, draws, odds, strengths, strict=True) if d < p}


def paint_artefacts(light: np.ndarray, artefacts: dict[str, float], hair: float, rng: np.random.Generator) -> None:
    """Paint ink, hair, ruler and bubbles over ``light (3, H, W)``, the logarithm of the light, in this order."""
    size = light.shape[-1]
    kinds = np.random.default_rng(rng.integers(0, 2**63, len(ARTEFACTS))).spawn(len(ARTEFACTS))
    if "ink" in artefacts:
        cover = _tubes(size, *_ink(size, kinds[3])) * np.float32(0.45 + 0.4 * artefacts["ink"])
        for c in range(3):
            light[c] += cover * (np.float32(_INK[c]) - light[c])
    if "hair" in artefacts:
        points, width = _hairs(size, 1 + int(26 * hair * artefacts["hair"]), kinds[0])
        colour = np.log([0.16, 0.11, 0.09]) + kinds[0].uniform(0, 1.0) * np.array([1.0, 0.9, 0.7])
        cover = _tubes(size, points, width) * np.float32(0.85)
        for c in range(3):
            light[c] += cover * (np.minimum(np.float32(colour[c]), light[c]) - light[c])
    if "ruler" in artefacts:
        cover = _tubes(size, *_ruler(size, kinds[1])) * np.float32(0.75)
        for c in range(3):
            light[c] += cover * (np.float32(np.log(0.16)) - light[c])
    if "bubbles" in artefacts:
        rim, inside = _bubbles(size, artefacts["bubbles"], kinds[2])
        light += np.float32(0.20) * rim - np.float32(0.05) * inside


def _tubes(size: int, points: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Cover ``(H, W)`` of lines along ``points (B, T, 2)`` with radii ``width (B, T)``, in pixels."""
    canvas = Canvas(size, 1)
    none = np.zeros(len(points))
    canvas.tubes(points, width, np.clip(width / 0.5, 0.25, 1.0), none.astype(np.intp), none)
    return np.asarray(canvas.layers[0])


def _hairs(size: int, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Bent lines that mostly lie the same way."""
    t = np.linspace(-0.5, 0.5, 12)
    turn = rng.uniform(0, np.pi) + rng.normal(0, 0.35, (count, 1))
    bend, length = rng.normal(0, 1.1, (count, 1)), rng.uniform(0.35, 1.2, (count, 1)) * size
    heading = turn + bend * t
    steps = np.stack([np.cos(heading), np.sin(heading)], -1) * (length / len(t))[..., None]
    points = rng.uniform(0, size, (count, 1, 2)) + np.cumsum(steps, 1) - 0.5 * steps.sum(1, keepdims=True)
    width = size * rng.uniform(0.0022, 0.0058, (count, 1)) * (1.1 - 0.5 * np.abs(t) * 2)
    return points, width


def _ruler(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Ticks along one side, every fifth longer."""
    gap, edge = size * rng.uniform(0.035, 0.06), size * rng.uniform(0.02, 0.08)
    place = np.arange(rng.uniform(0, gap), size, gap)
    long = np.arange(len(place)) % 5 == rng.integers(0, 5)
    reach = edge + np.linspace(0, 1, 4) * (size * np.where(long, 0.075, 0.042))[:, None]
    points = np.stack([np.broadcast_to(place[:, None], reach.shape), reach], -1)
    side = rng.integers(0, 4)
    points = points[..., ::-1] if side & 1 else points
    points = size - 1 - points if side & 2 else points
    return points, np.full(reach.shape, size * 0.0035)


def _ink(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A stroke of a pen across a corner."""
    t = np.linspace(-1, 1, 16)
    corner = rng.choice([-1, 1], 2) * rng.uniform(0.72, 0.95)
    along = np.array([corner[1], -corner[0]])
    path = corner + along * t[:, None] * 0.5 - corner * (t[:, None] ** 2) * rng.uniform(-0.25, 0.35)
    width = size * rng.uniform(0.018, 0.035)
    return (size / 2 * (1 + path))[None], np.full((1, len(t)), width)


def _bubbles(size: int, strength: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rims and insides ``(H, W)`` of bubbles in the gel."""
    count = 2 + int(14 * strength * rng.random())
    centre, radius = rng.uniform(0, size, (count, 2)), size * rng.uniform(0.008, 0.045, count)
    canvas, flat = Canvas(size, 2), np.zeros(count)
    for layer, share in ((0, 1.0), (1, 0.78)):
        canvas.blobs(
            centre, np.repeat(share * radius[:, None], 2, 1), flat, np.full(count, 0.25), np.zeros((count, 2)),
            np.ones(count), np.full(count, layer, dtype=np.intp),
        )  # fmt: skip
    return np.maximum(canvas.layers[0] - canvas.layers[1], 0), canvas.layers[1]


def frame_cover(size: int, shown: bool, rng: np.random.Generator) -> np.ndarray:
    """Share of every pixel inside the black round frame, ``(size, size)`` float32; 1 everywhere where there is none."""
    middle, radius = size / 2 + rng.normal(0, 0.015, 2) * size, size * rng.uniform(0.50, 0.60)
    if not shown:
        return np.ones((size, size), dtype=np.float32)
    axis = np.arange(size, dtype=np.float32)
    gap = radius - np.hypot((axis - middle[0])[None, :], (axis - middle[1])[:, None])
    return np.asarray(np.clip(gap / max(1.5, 0.02 * size) + 0.5, 0, 1), dtype=np.float32)
