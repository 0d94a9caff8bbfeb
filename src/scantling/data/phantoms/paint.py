"""Lesions on the retina: how each kind absorbs light or sends it back."""

from __future__ import annotations

import numpy as np

from scantling.data.phantoms import lesions as ls
from scantling.data.phantoms.eyes import Eye
from scantling.data.phantoms.optics import View
from scantling.data.phantoms.retina import to_pixels
from scantling.data.phantoms.splat import Canvas
from scantling.data.phantoms.textures import cut, texture_bank

_ABSORBS = {ls.BLOOD: np.array([0.36, 0.72, 0.42]), ls.VESSEL: np.array([0.12, 0.50, 0.35]),
            ls.PIGMENT: np.array([1.2, 0.85, 0.45])}  # fmt: skip
_TURNS = {ls.SCAR: np.log([0.95, 0.60, 0.34]), ls.EXUDATE: np.log([1.16, 0.90, 0.36]),
          ls.COTTON: np.log([0.98, 0.76, 0.55]), ls.FIBRE: np.log([0.86, 0.66, 0.40])}  # fmt: skip

_BLED = np.log([0.34, 0.06, 0.03]).astype(np.float32)[:, None, None]


def lesion_layers(plan: ls.Lesions, eye: Eye, view: View, size: int) -> tuple[set[int], np.ndarray]:
    """The layers that hold anything, and all layers ``(LAYERS, H, W)``."""
    if not plan.blobs and not plan.tufts:
        return set(), np.zeros((0, size, size), dtype=np.float32)
    canvas, drawn = Canvas(size, ls.LAYERS), set()
    if plan.blobs:
        rows = np.concatenate(plan.blobs)
        layer = rows[:, 9].astype(np.intp)
        drawn |= set(layer.tolist())
        canvas.blobs(
            to_pixels(rows[:, :2], eye, view), rows[:, 2:4] * view.radius, rows[:, 4] * eye.side, rows[:, 5],
            rows[:, 6:8], rows[:, 8], layer,
        )  # fmt: skip
    if plan.tufts:
        points, width = np.concatenate(plan.tufts), np.concatenate(plan.widths) * view.radius
        layer = np.concatenate(plan.tuft_layers).astype(np.intp)
        drawn |= set(layer.tolist())
        value = np.clip(1.4 * width, 0.3, 1.0)
        canvas.tubes(to_pixels(points, eye, view), width, value, layer, np.zeros(len(points)))
    return drawn, canvas.layers


def paint_layer(light: np.ndarray, layer: int, drawn: set[int], layers: np.ndarray) -> None:
    """Add one layer of lesions to the logarithm of the light, ``(3, H, W)``, where it holds anything."""
    if layer not in drawn:
        return
    amount = layers[layer]
    for c in range(3):
        if layer in _ABSORBS:
            light[c] -= np.float32(_ABSORBS[layer][c]) * amount
        else:
            light[c] += amount * (np.float32(_TURNS[layer][c]) - light[c])


def paint_bleedings(light: np.ndarray, plan: ls.Lesions, eye: Eye, view: View, rng: np.random.Generator) -> np.ndarray:
    """Blood in front of the retina: it hides what lies behind it. Returns how much of each pixel, ``(H, W)``."""
    size = light.shape[-1]
    hidden = np.zeros(light.shape[1:], dtype=np.float32)
    axis = np.arange(size, dtype=np.float32)
    for x, y, width, height in plan.boats:
        cx, cy = to_pixels(np.array([x, y]), eye, view)
        u, v = ((axis - cx) / (width * view.radius))[None, :], ((axis - cy) / (height * view.radius))[:, None]
        gap = np.minimum(1 - np.sqrt(u * u + v * v), v + 0.10 + 0.05 * u * u)
        cover = np.clip(gap * height * view.radius / 2 + 0.5, 0, 1) * np.float32(0.9)
        light += cover * (_BLED - light)
        np.maximum(hidden, cover, out=hidden)
    for x, y, width, amount in plan.clouds:
        cx, cy = to_pixels(np.array([x, y]), eye, view)
        u, v = ((axis - cx) / (width * view.radius))[None, :], ((axis - cy) / (width * view.radius))[:, None]
        wisps = cut(texture_bank(size)["cloud"], size, rng)
        hills = np.exp((0.8 * wisps - 1.5) * (u * u + v * v)) * (1.05 + 0.35 * wisps) - 0.08
        cover = np.clip(hills * np.exp(-0.4 * (u * u + v * v)), 0, 0.95) * np.float32(amount)
        light += cover * (_BLED + np.float32(0.3) - light)
        np.maximum(hidden, cover, out=hidden)
    return hidden


def pixel_boxes(plan: ls.Lesions, eye: Eye, view: View) -> np.ndarray:
    """Rows ``(kind, left, top, right, bottom)`` in whole pixels, right and bottom excluded."""
    if not plan.boxes:
        return np.zeros((0, 5), dtype=np.int64)
    rows = np.concatenate(plan.boxes)
    a, b = to_pixels(rows[:, 1:3], eye, view), to_pixels(rows[:, 3:5], eye, view)
    low = np.rint(np.minimum(a, b)).astype(np.int64)
    high = np.maximum(np.rint(np.maximum(a, b)).astype(np.int64), low) + 1
    return np.column_stack([rows[:, 0].astype(np.int64), low, high])
