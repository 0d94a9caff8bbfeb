"""Opacities in the lungs: which a slice has, where they lie, and how dense they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scantling.data.phantoms.chest.anatomy import Chest
from scantling.data.phantoms.lattice import generator
from scantling.data.phantoms.patterns import CELLS, clouds, honeycomb, read, step

KINDS = ("ground_glass", "crazy_paving", "consolidation", "nodule")

MASK_FROM = 0.2
"""Share of its density from which a pixel counts as lesion."""

_PLAN, _TEXTURE = 57, 58
_COUNT = ((1, 1), (2, 3), (3, 6), (5, 9))
_RADIUS = ((0.045, 0.09), (0.06, 0.12), (0.07, 0.16), (0.09, 0.21))
_ODDS = ((0.70, 0.0, 0.0, 0.30), (0.65, 0.10, 0.10, 0.15), (0.45, 0.25, 0.25, 0.05), (0.35, 0.30, 0.35, 0.0))
_DENSITY = ((90, 200), (140, 280), (200, 380), (240, 460))


@dataclass(frozen=True)
class Opacities:
    """The lesions of a slice, ``L`` of them.

    Args:
        kind: position in :data:`KINDS`, ``(L,)`` int64.
        place: ``(L, 2)`` in half sides of the picture.
        radii: half axes ``(L, 2)``.
        turn: angle of the first axis, ``(L,)``.
        density: Hounsfield units that they add, ``(L,)``; in consolidations and nodules, towards soft tissue.
    """

    kind: np.ndarray
    place: np.ndarray
    radii: np.ndarray
    turn: np.ndarray
    density: np.ndarray

    @property
    def kinds(self) -> str:
        """Names of the kinds, each once, joined by ``+``."""
        return "+".join(KINDS[k] for k in sorted(set(self.kind.tolist())))


def plan_opacities(chest: Chest, severity: int, position: float, seed: int) -> Opacities:
    """The lesions of a slice: more, larger and denser ones with severity.

    Args:
        chest: the slice.
        severity: 0 (none) to 4.
        position: where the patient stands inside the severity, in [0, 1).
        seed: number of the set.
    """
    if severity == 0:
        none = np.zeros(0)
        return Opacities(np.zeros(0, dtype=np.int64), np.zeros((0, 2)), np.zeros((0, 2)), none, none)
    rng, row = generator(seed, _PLAN, chest.index), severity - 1
    least, most = _COUNT[row]
    count = least + int(position * (most - least + 1))
    kind = rng.choice(len(KINDS), count, p=_ODDS[row])
    radius = rng.uniform(*_RADIUS[row], count) * (0.85 + 0.3 * position)
    radius = np.where(KINDS.index("nodule") == kind, rng.uniform(0.025, 0.05, count), radius)
    stretch = np.exp(rng.normal(0, 0.22, count))
    density = rng.uniform(*_DENSITY[row], count) * (0.9 + 0.2 * position)
    across, high = chest.cavity
    tried = rng.uniform(-1, 1, (60 * count + 400, 2)) * (across, high)
    depth = chest.lung_depth(tried[:, 0], tried[:, 1])
    # Most lie at the rim of the lungs and at the back.
    wish = np.exp(-depth / 0.10) * (0.35 + 0.65 * (tried[:, 1] > 0))
    fit = np.flatnonzero((depth > 0.02) & (rng.random(len(tried)) < wish))
    inside = np.flatnonzero(depth > 0.02)
    chosen = fit if len(fit) >= count else inside
    radii, turn = np.stack([radius * stretch, radius / stretch], 1), rng.uniform(0, np.pi, count)
    return Opacities(kind, tried[chosen[:count]], radii, turn, density)


def paint_opacities(hu: np.ndarray, depth: np.ndarray, plan: Opacities, seed: int, index: int) -> np.ndarray:
    """Paint lesions into the lungs; return their mask ``(H, W)`` bool.

    Args:
        hu: Hounsfield units ``(H, W)`` float32, changed in place.
        depth: how deep every pixel lies in the lungs, ``(H, W)``, in half sides.
        plan: the lesions.
        seed: number of the set.
        index: number of the image.
    """
    mask = np.zeros(hu.shape, dtype=bool)
    lungs = depth > -2 / hu.shape[-1]
    rows, columns = (np.flatnonzero(lungs.any(axis)) for axis in (1, 0))
    if not len(plan.kind) or not len(rows):
        return mask
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    cover, amount = _opacities(hu[box], depth[box], box, hu.shape[-1], plan, generator(seed, _TEXTURE, index))
    hu[box] += amount
    mask[box] = cover > MASK_FROM
    return mask


def _opacities(
    hu: np.ndarray, depth: np.ndarray, box: tuple[slice, slice], size: int, plan: Opacities, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cover ``(h, w)`` of all lesions in a box of the picture, and the Hounsfield units that they add."""
    axis = (np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)) * np.float32(2 / size)
    x, y = axis[None, box[1]], axis[box[0], None]
    blotch, fine = read(clouds(), x * np.float32(0.55), y * np.float32(0.55), rng.uniform(0, 6.3), rng.random(2))
    cells = np.float32(16 / CELLS)
    wall = read(honeycomb(), x * cells, y * cells, rng.uniform(0, 6.3), rng.random(2))[0]
    shapes = np.stack([*plan.place.T, *plan.radii.T, np.cos(plan.turn), np.sin(plan.turn)])
    px, py, rx, ry, cos, sin = shapes.astype(np.float32)[..., None, None]
    dx, dy = x - px, y - py
    gap = np.hypot((dx * cos + dy * sin) / rx, (dy * cos - dx * sin) / ry)
    nodule = (plan.kind == KINDS.index("nodule"))[:, None, None]
    solid = nodule | (plan.kind == KINDS.index("consolidation"))[:, None, None]
    paving = (plan.kind == KINDS.index("crazy_paving"))[:, None, None]
    rugged = np.where(nodule, np.float32(0.08), np.float32(0.26))
    rise = np.where(solid, np.float32(0.25), np.float32(0.50))
    cover = np.clip((1 - gap + rugged * (blotch + np.float32(0.5) * fine)) / rise, 0, 1)
    cover *= cover * (3 - 2 * cover) * step(depth, -1.0 / size, 1.0 / size)
    net = np.float32(0.8) * step(wall, 0.16, 0.03) - np.float32(0.2)
    texture = np.float32(1) + np.float32(0.18) * fine + paving * net
    added = plan.density.astype(np.float32)[:, None, None] * texture
    # Nothing in the lungs gets denser than soft tissue.
    room = np.float32(25) - hu
    amount = cover * np.where(solid, np.float32(0.85) * room, np.minimum(added, room))
    return cover.max(0), np.maximum(amount.max(0), 0)
