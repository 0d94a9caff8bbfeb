"""Cameras, and what goes wrong when a photograph is taken.

A site is a camera: its field of view, its colours, its sharpness. A degradation is what an operator would reject.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from scantling.data.phantoms.splat import Canvas

QUALITIES = ("good", "usable", "reject")
DEGRADATIONS = ("blur", "underexposed", "overexposed", "haze", "uneven", "artefact")
REJECT_FROM = 0.55
"""Strength of a degradation, in (0, 1], from which a photograph is to be rejected; below it is usable."""


@dataclass(frozen=True)
class Camera:
    """A fundus camera.

    Args:
        zoom: magnification; 1 is a field of 45 degrees.
        radius: radius of the field of view as a share of the side of the picture.
        cut: where the field is cut off above and below, as a share of its radius; 1 is a whole circle.
        notch: whether the mask has a small bulge at the upper right, which tells up from down.
        gain: of red, green and blue.
        contrast: exponent of the tone curve.
        blur: standard deviation of the point spread, in radii of the field of view.
        noise: standard deviation of the sensor noise, full scale 1.
        vignette: loss of light at the rim, share.
    """

    zoom: float = 1.0
    radius: float = 0.48
    cut: float = 1.0
    notch: bool = False
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    blur: float = 0.004
    noise: float = 0.008
    vignette: float = 0.25


CAMERAS = (
    Camera(1.0, 0.485, 0.86, True, (1.00, 0.95, 0.55), 1.0, 0.0045, 0.007, 0.22),
    Camera(1.02, 0.495, 0.74, True, (1.08, 0.60, 0.72), 0.95, 0.0025, 0.006, 0.12),
    Camera(1.0, 0.465, 1.0, False, (0.88, 1.02, 1.45), 1.1, 0.0070, 0.012, 0.38),
    Camera(1.28, 0.48, 1.0, False, (0.90, 1.06, 0.85), 1.0, 0.0120, 0.020, 0.45),
    Camera(0.86, 0.50, 0.92, False, (0.98, 0.80, 0.70), 1.05, 0.0050, 0.010, 0.30),
)
"""The cameras of the sites; a set with more sites uses them again with other colours."""


class View(NamedTuple):
    """Where a camera puts the field of view in a picture: centre and radius in pixels, and where it is cut off."""

    x: float
    y: float
    radius: float
    cut: float
    notch: bool


def camera_of(site: int) -> Camera:
    """The camera of a site, the same in every set."""
    base = CAMERAS[site % len(CAMERAS)]
    if site < len(CAMERAS):
        return base
    rng = np.random.default_rng([site])
    red, green, blue = (float(g) for g in np.asarray(base.gain) * np.exp(rng.normal(0, (0.05, 0.10, 0.25))))
    return Camera(
        base.zoom, base.radius, base.cut, not base.notch, (red, green, blue), base.contrast, base.blur, base.noise,
        base.vignette,
    )  # fmt: skip


def place_view(camera: Camera, size: int, rng: np.random.Generator) -> View:
    """Where the field of view lies in a picture of ``size`` pixels, a little off centre."""
    x, y = (size - 1) / 2 + rng.normal(0, 0.004, 2) * size
    return View(float(x), float(y), camera.radius * size * float(rng.uniform(0.985, 1.0)), camera.cut, camera.notch)


def field_of_view(view: View, size: int) -> np.ndarray:
    """Share of every pixel inside the field of view, ``(size, size)`` float32 with an edge of about two pixels."""
    axis = np.arange(size, dtype=np.float32)
    dx, dy = (axis - view.x)[None, :], (axis - view.y)[:, None]
    edge = max(1.2, 0.010 * size)
    inside = view.radius - np.sqrt(dx * dx + dy * dy)
    if view.notch:
        bump = 0.045 * view.radius
        nx, ny = dx - 0.775 * view.radius, dy + 0.60 * view.radius
        inside = np.maximum(inside, bump - np.sqrt(nx * nx + ny * ny))
    cover = np.clip(inside / edge + 0.5, 0, 1)
    if view.cut < 1:
        cover *= np.clip(view.cut * view.radius - np.abs(dy) + 0.5, 0, 1)
    return cover


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """``image (H, W, 3)`` uint8, smoothed by a Gaussian of ``sigma`` pixels."""
    if sigma < 0.2:
        return image
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)))


def quality_of(strength: float) -> str:
    """The quality label of a degradation's strength; 0 is no degradation.

    >>> quality_of(0.0), quality_of(0.3), quality_of(0.9)
    ('good', 'usable', 'reject')
    """
    return QUALITIES[0] if strength <= 0 else QUALITIES[1] if strength < REJECT_FROM else QUALITIES[2]


def choose_faults(rng: np.random.Generator) -> dict[str, float]:
    """One fault or two of a photograph, with their strengths in [0.25, 1)."""
    first = str(rng.choice(DEGRADATIONS))
    faults = {first: float(rng.uniform(0.25, 1))}
    if rng.random() < 0.25:
        second = str(rng.choice(DEGRADATIONS))
        if not {first, second} >= {"underexposed", "overexposed"}:
            faults.setdefault(second, float(rng.uniform(0.25, 1)))
    return faults


def blur_of(faults: dict[str, float]) -> float:
    """Standard deviation of the blur that faults bring, in radii of the field of view."""
    blur = 0.008 + 0.034 * faults["blur"] if "blur" in faults else 0.0
    return float(np.hypot(blur, 0.014 * faults.get("haze", 0.0)))


def degrade_light(
    light: np.ndarray, kind: str, strength: float, cloud: np.ndarray, view: View, rng: np.random.Generator
) -> np.ndarray:
    """The picture ``light (3, H, W)``, 0-1 floats, with one degradation of its light; ``blur`` leaves it alone.

    Args:
        light: changed in place and returned.
        kind: one of :data:`DEGRADATIONS`.
        strength: in (0, 1].
        cloud: a field ``(H, W)`` of large blotches, mean 0, deviation 1.
        view: where the field of view lies.
        rng: source of direction and place.
    """
    size = light.shape[-1]
    axis = np.arange(size, dtype=np.float32)
    x, y = (axis - view.x)[None, :] / view.radius, (axis - view.y)[:, None] / view.radius
    if kind == "underexposed":
        light *= np.float32(1 - 0.45 * strength - 0.33 * strength**2)
    elif kind == "overexposed":
        light *= np.float32(1 + 1.6 * strength)
        light += np.float32(0.10 * strength)
    elif kind == "haze":
        veil = np.clip(0.25 + 0.65 * strength + 0.12 * cloud, 0, 0.93)
        colour = rng.uniform(0.45, 0.66) * np.array([1.0, rng.uniform(0.66, 0.80), rng.uniform(0.44, 0.66)])
        light += veil * (colour.astype(np.float32)[:, None, None] - light)
    elif kind == "uneven":
        turn = rng.uniform(0, 2 * np.pi)
        slope = np.float32(np.cos(turn)) * x + np.float32(np.sin(turn)) * y + 0.25 * cloud
        dark = 1 / (1 + np.exp(-3.8 * (slope + np.float32(0.55 - 0.75 * strength))))
        light *= 1 - np.float32(0.45 + 0.5 * strength) * dark
    elif kind == "artefact":
        _artefact(light, strength, x, y, view, rng)
    return light


def _artefact(
    light: np.ndarray, strength: float, x: np.ndarray, y: np.ndarray, view: View, rng: np.random.Generator
) -> None:
    """Eyelashes with the shadow of the lid, a crescent of stray light, or specks of dust with a reflection."""
    size = light.shape[-1]
    kind = rng.integers(0, 3)
    if kind == 0:
        side = rng.choice([-1, 1])
        count = 6 + int(16 * strength)
        foot = rng.uniform(-0.8, 0.8, count)
        t = np.linspace(0, 1, 16)
        lean = 0.5 * foot[:, None] + rng.normal(0, 0.10, (count, 1))
        reach = rng.uniform(0.3, 0.45 + 0.45 * strength, (count, 1))
        px = foot[:, None] + lean * t + 0.15 * rng.normal(0, 1, (count, 1)) * t**2
        py = side * (1.02 - reach * t)
        points = np.stack([view.x + view.radius * px, view.y + view.radius * py], -1)
        canvas = Canvas(size, 1)
        width = view.radius * rng.uniform(0.008, 0.018, (count, 1)) * (1.15 - t)
        canvas.tubes(points, width, np.ones((count, 16)), np.zeros(count, dtype=np.intp), np.zeros(count))
        lash = canvas.layers[0]
        soft = np.asarray(Image.fromarray((255 * lash).astype(np.uint8)).filter(ImageFilter.GaussianBlur(size / 200)))
        light *= 1 - np.float32(0.75 / 255) * soft
        light *= 1 - np.float32(0.8) / (1 + np.exp(-9 * (side * y - np.float32(1.0 - 0.45 * strength))))
    elif kind == 1:
        turn, far = rng.uniform(0, 2 * np.pi), 0.30 + 0.25 * (1 - strength)
        gap = np.hypot(x + far * np.cos(turn), y + far * np.sin(turn)) - 1.0
        glow = np.float32(0.75) / (1 + np.exp(np.float32(-14.0) * gap))
        tint = np.array([0.62, 0.62, 0.72], dtype=np.float32)[:, None, None]
        light += glow.astype(np.float32) * (tint - light) + np.float32(0.15) * glow.astype(np.float32)
    else:
        count = 8 + int(30 * strength)
        canvas = Canvas(size, 1)
        spot = np.stack([view.x + view.radius * rng.uniform(-0.9, 0.9, count),
                         view.y + view.radius * rng.uniform(-0.9, 0.9, count)], 1)  # fmt: skip
        width = view.radius * rng.uniform(0.008, 0.03 + 0.03 * strength, (count, 1)) * np.ones(2)
        canvas.blobs(
            spot, width, np.zeros(count), np.full(count, 0.9), rng.normal(0, 0.1, (count, 2)),
            rng.uniform(0.2, 0.6, count), np.zeros(count, dtype=np.intp),
        )  # fmt: skip
        light *= 1 - canvas.layers[0] * np.float32(0.8)
        bx, by = rng.uniform(-0.4, 0.4, 2)
        glow = np.exp(-((x - bx) ** 2 + (y - by) ** 2) / (0.02 + 0.06 * strength)).astype(np.float32)
        light += np.float32(0.9 * strength) * glow
