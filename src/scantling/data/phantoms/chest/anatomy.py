"""A transverse slice of a healthy chest, in Hounsfield units: wall, ribs, spine, heart, lungs and their vessels.

Positions are in half sides of the picture, centred on it, x to the right and y down (the patient lies on the back, the
spine is low). Two slices of one patient differ in their level: 0 is the arch of the aorta, 1 is above the diaphragm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scantling.data.phantoms.lattice import generator
from scantling.data.phantoms.patterns import clouds, read, step
from scantling.data.phantoms.splat import Canvas

AIR, LUNG, FAT, MUSCLE, BONE = -1000.0, -840.0, -100.0, 45.0, 480.0
"""Hounsfield units."""

_PERSON, _SLICE, _VESSELS, _BONES, _TEXTURE = range(51, 56)


@dataclass(frozen=True)
class Chest:
    """One slice: what is fixed before anything is drawn.

    Args:
        index: number of the image; ``index // 2`` is the patient.
        level: 0 (arch of the aorta) to 1 (above the diaphragm).
        body: half axes of the body, ``(2,)``.
        fat: thickness of the fat under the skin.
        wall: thickness of muscles and ribs.
        midline: place of the spine, ``(2,)``.
        heart: centre and half axes of heart or great vessels, ``(4,)``.
        waist: half width of the mediastinum.
        lung: density of the lungs in Hounsfield units.
        dependent: how much denser the lungs are at the back, in Hounsfield units.
        bend: unevenness of the outline of the lungs.
    """

    index: int
    level: float
    body: tuple[float, float]
    fat: float
    wall: float
    midline: tuple[float, float]
    heart: tuple[float, float, float, float]
    waist: float
    lung: float
    dependent: float
    bend: float

    @property
    def cavity(self) -> tuple[float, float]:
        """Half axes of the inside of the rib cage."""
        return self.body[0] - self.fat - self.wall, self.body[1] - self.fat - self.wall

    def lung_depth(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """How deep points lie in the lungs, negative outside; in half sides, about."""
        across, high = self.cavity
        hx, hy, ha, hb = self.heart
        cavity = (1 - np.hypot(x / across, (y - self.midline[1]) / high)) * min(across, high)
        # Where the cavity is widest it is a little straighter than an ellipse.
        cavity = cavity + 0.03 * (np.abs(x) / across) * (1 - np.abs(y) / high)
        heart = (1 - np.hypot((x - hx) / ha, (y - hy) / hb)) * min(ha, hb)
        spine = (1 - np.hypot((x - self.midline[0]) / 0.17, (y - self.midline[1] - 0.74 * high) / 0.25)) * 0.17
        column = self.waist - np.abs(x - self.midline[0]) * (1 + 0.5 * np.clip(-y, 0, 1))
        return np.asarray(np.minimum(cavity, -np.maximum(np.maximum(heart, spine), column)))


def draw_chest(seed: int, index: int) -> Chest:
    """The chest of the image ``index`` of the set ``seed``.

    >>> upper, lower = draw_chest(0, 4), draw_chest(0, 5)
    >>> upper.level < lower.level, upper.body == lower.body
    (True, True)
    """
    person, own = generator(seed, _PERSON, index // 2), generator(seed, _SLICE, index)
    across = float(np.clip(person.normal(0.88, 0.035), 0.78, 0.95))
    body = (across, across * float(np.clip(person.normal(0.72, 0.05), 0.6, 0.84)))
    fat, wall = float(np.clip(person.gamma(4, 0.012), 0.015, 0.13)), float(person.uniform(0.075, 0.105))
    big, lean = float(person.normal(1, 0.10)), float(person.normal(0.10, 0.025))
    tilt, lung, dependent = float(person.normal(0, 0.012)), float(person.normal(LUNG, 25)), float(person.gamma(2, 30))
    bend, waist = float(person.uniform(0.006, 0.022)), float(np.clip(person.normal(0.085, 0.015), 0.05, 0.13))
    level = 0.45 * (index % 2) + 0.5 * own.random()
    swell = float(np.clip((level - 0.25) / 0.5, 0, 1))
    high = body[1] - fat - wall
    heart = (
        tilt + lean * swell * 1.3, (-0.25 + 0.12 * (1 - swell)) * high,
        big * (0.15 + 0.15 * swell), high * big * (0.42 + 0.12 * swell),
    )  # fmt: skip
    return Chest(index, level, body, fat, wall, (tilt, 0.0), heart, waist, lung, dependent, bend)


def paint_chest(chest: Chest, seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A healthy slice.

    Args:
        chest: what to paint.
        seed: number of the set.
        size: side in pixels.

    Returns:
        Hounsfield units ``(size, size)`` float32, and how deep every pixel lies in the lungs, in half sides, likewise.
    """
    axis = (np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)) * np.float32(2 / size)
    x, y = np.broadcast_to(axis[None, :], (size, size)), np.broadcast_to(axis[:, None], (size, size))
    rng = generator(seed, _TEXTURE, chest.index)
    blotch, fine = read(clouds(), x * np.float32(0.25), y * np.float32(0.25), 0.0, rng.random(2))
    edge = 2.0 / size
    body = (1 - np.hypot(x / np.float32(chest.body[0]), y / np.float32(chest.body[1]))) * np.float32(chest.body[1])
    body += np.float32(0.010) * blotch
    hu = np.full((size, size), AIR, dtype=np.float32)
    _lay(hu, step(body, -edge, edge), FAT + 12 * fine)
    inside = body - np.float32(chest.fat) + np.float32(0.012) * fine
    _lay(hu, step(inside, -edge, edge), MUSCLE + 6 * blotch)
    _paint_bones(hu, chest, size, generator(seed, _BONES, chest.index))
    depth = (chest.lung_depth(x, y) + chest.bend * (blotch + 0.5 * fine)).astype(np.float32)
    cover = step(depth, -edge, edge)
    back = np.clip(y / np.float32(chest.cavity[1]), 0, 1) ** 2
    air = np.float32(chest.lung) + np.float32(chest.dependent) * back + 14 * fine + 20 * blotch
    _lay(hu, cover, air)
    branches, airways = _vessels(chest, size, generator(seed, _VESSELS, chest.index))
    _lay(hu, cover * np.maximum(airways[1] - airways[0], 0) * np.float32(0.6), MUSCLE)
    _lay(hu, cover * branches, MUSCLE)
    _lay(hu, airways[0], AIR)
    return hu, depth


def _lay(hu: np.ndarray, cover: np.ndarray, value: np.ndarray | float) -> None:
    hu += cover * (np.asarray(value, dtype=np.float32) - hu)


def _paint_bones(hu: np.ndarray, chest: Chest, size: int, rng: np.random.Generator) -> None:
    """Ribs cut across, breastbone, and a vertebra with its canal."""
    across, high = (half + 0.55 * chest.wall for half in chest.cavity)
    turns = np.concatenate([side * (np.linspace(0.30, 2.75, 7) + rng.normal(0, 0.09, 7)) for side in (1, -1)])
    ribs = np.stack([across * np.sin(turns), high * np.cos(turns)], 1)
    long = rng.uniform(0.06, 0.15, len(ribs))
    thin = np.minimum(rng.uniform(0.020, 0.030, len(ribs)), 0.36 * chest.wall)
    slope = np.arctan2(-high * np.sin(turns), across * np.cos(turns))
    mx, back = chest.midline[0], 0.66 * chest.cavity[1]
    others = np.array([
        [mx, back + 0.02, 0.125, 0.105, 0.0], [mx, back + 0.215, 0.024, 0.065, 0.0],
        [mx - 0.115, back + 0.130, 0.070, 0.026, -0.5], [mx + 0.115, back + 0.130, 0.070, 0.026, 0.5],
        [mx, -chest.cavity[1] - 0.35 * chest.wall, 0.105, 0.032, 0.0],
    ])  # fmt: skip
    shapes = np.concatenate([np.column_stack([ribs, long, thin, slope]), others])
    shell = np.concatenate([shapes, [[mx, back + 0.14, 0.042, 0.036, 0.0]]])
    canvas, count = Canvas(size, 3), len(shell)
    layer = np.r_[np.zeros(len(shapes), dtype=np.intp), 2]
    for shrink, to in ((1.0, layer), (0.62, np.where(layer == 0, 1, 2))):
        canvas.blobs(
            (shell[:, :2] + 1) * size / 2 - 0.5, shrink * shell[:, 2:4] * size / 2, shell[:, 4], np.full(count, 0.2),
            np.zeros((count, 2)), np.ones(count), to,
        )  # fmt: skip
    cortex, marrow, canal = canvas.layers
    _lay(hu, cortex, BONE)
    _lay(hu, marrow, 170.0)
    _lay(hu, canal, 25.0)


def _vessels(chest: Chest, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cover of the vessels ``(H, W)``, and of the airways and these with their walls ``(2, H, W)``."""
    trunks = 8
    side = np.repeat([-1.0, 1.0], trunks)
    root = np.stack([chest.midline[0] + side * (chest.waist + 0.06), np.full(2 * trunks, 0.02)], 1)
    root += rng.normal(0, (0.02, 0.06), root.shape)
    points, radius = _tree(chest, root, side, rng)
    radius *= size / 2
    canvas = Canvas(size, 3)
    none = np.zeros(len(points))
    # What is thinner than a pixel fills a part of it, and much of a branch leaves the slice.
    value = np.clip(radius / 0.5, 0, 1) * rng.uniform(0.30, 0.95, (len(points), 1))
    canvas.tubes((points + 1) * size / 2 - 0.5, radius, value, none.astype(np.intp), none)
    dots = rng.uniform(-1, 1, (60, 2)) * chest.cavity
    across = np.clip(0.018 * (1 - 0.8 * np.hypot(*dots.T)), 0.004, None) * rng.uniform(0.5, 1.1, len(dots))
    bronchi = root[[trunks // 2, trunks + trunks // 2]] + np.array([[-0.03, 0.0], [0.03, 0.0]])
    windpipe = np.array([[chest.midline[0], -0.02 + 0.05 * chest.level]])
    tubes = np.concatenate([bronchi, windpipe]) if chest.level < 0.45 else bronchi
    bore = np.array([0.022, 0.022, 0.055])[: len(tubes)]
    centre = np.concatenate([dots, tubes, tubes])
    wide = np.concatenate([across, bore, bore + 0.012]) * size / 2
    layer = np.repeat([0, 1, 2], [len(dots), len(tubes), len(tubes)])
    count = len(centre)
    canvas.blobs(
        (centre + 1) * size / 2 - 0.5, np.repeat(wide[:, None], 2, 1), np.zeros(count), np.full(count, 0.3),
        np.zeros((count, 2)), np.clip(wide / 0.7, 0.1, 1), layer,
    )  # fmt: skip
    return canvas.layers[0], canvas.layers[1:]


def _tree(chest: Chest, root: np.ndarray, side: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Vessels that leave the hila and fork twice: points ``(B, T, 2)`` and radii ``(B, T)``, in half sides."""
    t, forks = np.linspace(0, 1, 12), 2
    heading = np.tile(np.linspace(-1.35, 1.35, len(root) // 2), 2) + rng.normal(0, 0.10, len(root))
    length = np.hypot(chest.cavity[0] * np.cos(heading), 1.1 * chest.cavity[1] * np.sin(heading))
    length *= rng.uniform(0.5, 0.85, len(root))
    start, width = root, rng.uniform(0.009, 0.017, len(root))
    lines, widths = list[np.ndarray](), list[np.ndarray]()
    for last in (False, False, True):
        sway = rng.normal(0, (0.5, 0.15), (len(heading), 2))
        angle = heading[:, None] + sway[:, :1] * t + sway[:, 1:]
        steps = np.stack([side[:, None] * np.cos(angle), np.sin(angle)], -1) * (length / len(t))[:, None, None]
        path = start[:, None] + np.cumsum(steps, 1)
        lines.append(path)
        widths.append(width[:, None] * (1.1 - 0.6 * t))
        if last:
            break
        foot = rng.integers(2, 11, (len(path), forks))
        aside = rng.choice([-1, 1], foot.shape) * rng.uniform(0.4, 0.9, foot.shape)
        start = np.take_along_axis(path, foot[..., None], 1).reshape(-1, 2)
        heading = (np.take_along_axis(angle, foot, 1) + aside).ravel()
        length, width, side = 0.45 * np.repeat(length, forks), 0.62 * np.repeat(width, forks), np.repeat(side, forks)
    return np.concatenate(lines), np.concatenate(widths)
