"""Lesions of diabetic retinopathy: which an eye has, where they lie, and their shapes.

Counts follow the international clinical grades: 0 none; 1 microaneurysms only; 2 haemorrhages in a few places, hard
exudates, cotton wool spots; 3 haemorrhages in all four quadrants, beaded veins, microvascular abnormalities; 4 new
vessels or bleeding in front of the retina, with or without laser scars. Inside a grade, counts grow with severity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from scantling.data.phantoms.eyes import Eye
from scantling.data.phantoms.vessels import Branches

KINDS = (
    "microaneurysm", "haemorrhage", "hard_exudate", "cotton_wool_spot", "venous_beading", "irma",
    "neovascularisation", "preretinal_haemorrhage", "vitreous_haemorrhage", "fibrosis", "laser_scar",
)  # fmt: skip
"""Names in ``lesions.csv``. A box holds one lesion; for hard exudates one cluster, for new vessels one tuft."""

SCAR, PIGMENT, EXUDATE, COTTON, BLOOD, VESSEL, FIBRE = range(7)
LAYERS = 7
BEFORE_VESSELS, IN_FRONT = (SCAR, PIGMENT, EXUDATE), (COTTON, BLOOD, VESSEL, FIBRE)
"""Layers in the order of painting, those that vessels run over and those that cover vessels."""

_TUFT_STEPS = 14


@dataclass
class Lesions:
    """Shapes to draw, in radii of the field of view for a right eye, and the boxes round them.

    Args:
        blobs: rows ``(x, y, rx, ry, angle, softness, rugged_a, rugged_b, amplitude, layer)``.
        tufts: polylines ``(B, T, 2)`` of abnormal small vessels and fibrous strands.
        widths: their radii.
        tuft_layers: their layers.
        boxes: rows ``(kind, left, top, right, bottom)``, kind as a position in :data:`KINDS`.
        boats: rows ``(x, y, rx, ry)``: bleedings with a level surface.
        clouds: rows ``(x, y, width, amplitude)``: blood in the vitreous.
    """

    blobs: list[np.ndarray] = field(default_factory=list)
    tufts: list[np.ndarray] = field(default_factory=list)
    widths: list[np.ndarray] = field(default_factory=list)
    tuft_layers: list[np.ndarray] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    boats: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    clouds: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))


class _Site:
    """Chooses places inside the field of view of one eye."""

    def __init__(self, eye: Eye, cut: float, rng: np.random.Generator) -> None:
        self.eye, self.cut, self.rng = eye, min(cut, 1.0), rng
        self.disc, self.fovea = np.asarray(eye.disc), np.asarray(eye.fovea)

    def places(
        self,
        count: int,
        reach: float,
        spread: float | None = None,
        accept: Callable[[np.ndarray], np.ndarray] | None = None,
        off_disc: float = 1.25,
    ) -> np.ndarray:
        """``count`` places (fewer if there is no room) whose surroundings within ``reach`` lie in the field.

        Args:
            count: number of places.
            reach: half diagonal of the lesion.
            spread: standard deviation round the macula; None is anywhere.
            accept: further condition on the places ``(M, 2)``.
            off_disc: distance kept from the centre of the disc, in its radii.
        """
        tries = 40 * count + 60
        if spread is None:
            points = self.rng.uniform(-1, 1, (tries, 2))
        else:
            points = self.fovea + self.rng.normal(0, spread, (tries, 2))
        good = np.hypot(*points.T) + reach < 0.975
        good &= np.abs(points[:, 1]) + reach < self.cut - 0.01
        good &= np.hypot(*(points - self.disc).T) > off_disc * self.eye.disc_radius + 0.5 * reach
        if accept is not None:
            good &= accept(points)
        return points[good][:count]

    def holds(self, low: np.ndarray, high: np.ndarray) -> bool:
        """Whether a box lies in the field of view with all its corners."""
        far = np.maximum(np.abs(low), np.abs(high))
        return bool(np.hypot(*far) < 0.96 and far[1] < self.cut - 0.02)


def plan_lesions(eye: Eye, tree: list[Branches], cut: float, rng: np.random.Generator) -> Lesions:
    """The lesions of an eye, by its grade and its position inside the grade; beads the veins of ``tree`` in place.

    Args:
        eye: severity and anatomy.
        tree: vessels from :func:`~scantling.data.phantoms.vessels.grow_tree`.
        cut: where the field of view is cut off above and below, 1 for a whole circle.
        rng: source of every random choice.
    """
    out, site, grade, t = Lesions(), _Site(eye, cut, rng), eye.grade, eye.position
    if grade == 0:
        return out
    many = {1: 1 + 5 * t, 2: 5 + 9 * t, 3: 10 + 10 * t, 4: 5 + 8 * t}[grade]
    _microaneurysms(out, site, max(1, int(rng.poisson(many))) if grade > 1 else int(many + rng.random()))
    if grade == 1:
        return out
    if grade == 3:
        for sx in (-1, 1):
            for sy in (-1, 1):
                _haemorrhages(out, site, 5 + int(rng.poisson(2 + 5 * t)), (sx, sy))
    else:
        _haemorrhages(out, site, min(2 + int(rng.poisson(3 + 7 * t)), 16))
    _exudates(out, site, int(rng.poisson({2: 1.0 + 2 * t, 3: 1.5 + 1.5 * t, 4: 1.2}[grade])))
    _cotton(out, site, int(rng.poisson({2: 0.3 + 0.8 * t, 3: 1.2 + t, 4: 0.8}[grade])))
    if grade == 3:
        beaded = rng.random() < 0.65 and _bead(out, site, tree)
        if not beaded or rng.random() < 0.5:
            _irma(out, site, 1 + int(rng.integers(0, 3)))
    if grade == 4:
        _proliferate(out, site)
    return out


def _add(
    out: Lesions,
    layer: int,
    centre: np.ndarray,
    radii: np.ndarray,
    amplitude: np.ndarray | float,
    rng: np.random.Generator,
    softness: float = 0.5,
    rugged: float = 0.08,
    angle: np.ndarray | float = 0.0,
) -> None:
    rows = np.empty((len(centre), 10))
    rows[:, 0:2], rows[:, 2:4], rows[:, 4], rows[:, 5] = centre, radii, angle, softness
    rows[:, 6:8] = np.clip(rng.normal(0, rugged, (len(centre), 2)), -0.3, 0.3)
    rows[:, 8], rows[:, 9] = amplitude, layer
    out.blobs.append(rows)


def _box(out: Lesions, kind: str, low: np.ndarray, high: np.ndarray) -> None:
    low, high = np.atleast_2d(low), np.atleast_2d(high)
    out.boxes.append(np.column_stack([np.full(len(low), KINDS.index(kind)), low, high]))


def _microaneurysms(out: Lesions, site: _Site, count: int) -> None:
    rng, zoom = site.rng, site.eye.disc_radius / 0.128
    centre = site.places(count, 0.03, 0.42, lambda p: np.hypot(*(p - site.fovea).T) > 0.05)
    radius = rng.uniform(0.0085, 0.0135, (len(centre), 1)) * zoom
    _add(out, BLOOD, centre, radius * np.ones(2), rng.uniform(0.75, 1.1, len(centre)), rng, 0.6, 0.03)
    _box(out, "microaneurysm", centre - 1.15 * radius, centre + 1.15 * radius)


def _haemorrhages(out: Lesions, site: _Site, count: int, quadrant: tuple[int, int] | None = None) -> None:
    """Dots, blots and flames; flames follow the nerve fibres, which run away from the disc."""
    rng, zoom = site.rng, site.eye.disc_radius / 0.128

    def inside(p: np.ndarray) -> np.ndarray:
        far = np.hypot(*(p - site.fovea).T) > 0.10
        return far if quadrant is None else far & (p * quadrant > 0.06).all(1)

    centre = site.places(count, 0.08, None, inside)
    shape = rng.choice(3, len(centre), p=(0.42, 0.38, 0.20))
    dots, blots = rng.uniform(0.014, 0.022, len(centre)), rng.lognormal(np.log(0.027), 0.30, len(centre))
    long = np.select([shape == 0, shape == 1], [dots, blots], rng.uniform(0.035, 0.06, len(centre)))
    long = np.minimum(long * zoom, 0.065)
    short = long * np.select([shape == 0, shape == 1], [0.9, rng.uniform(0.6, 0.95, len(centre))], 0.30)
    away = centre - site.disc
    angle = np.where(shape == 2, np.arctan2(away[:, 1], away[:, 0]), rng.uniform(0, np.pi, len(centre)))
    angle = angle + rng.normal(0, 0.15, len(centre))
    _add(out, BLOOD, centre, np.stack([long, short], 1), rng.uniform(0.5, 1.15, len(centre)), rng, 0.7, 0.14, angle)
    reach = np.stack([np.hypot(long * np.cos(angle), short * np.sin(angle)),
                      np.hypot(long * np.sin(angle), short * np.cos(angle))], 1)  # fmt: skip
    _box(out, "haemorrhage", centre - 1.1 * reach, centre + 1.1 * reach)


def _exudates(out: Lesions, site: _Site, clusters: int) -> None:
    """Clusters of waxy yellow specks near the macula, some in a ring round a leaking vessel."""
    rng, zoom = site.rng, site.eye.disc_radius / 0.128
    for heart in site.places(clusters, 0.19, 0.36, lambda p: np.hypot(*(p - site.fovea).T) > 0.10):
        count = int(rng.integers(6, 30))
        if rng.random() < 0.35:
            turn = rng.uniform(0, 2 * np.pi) + rng.uniform(0, rng.uniform(2.5, 6.3), count)
            gap = rng.uniform(0.06, 0.10) * (1 + rng.normal(0, 0.13, count))
            specks = heart + np.stack([gap * np.cos(turn), gap * np.sin(turn)], 1)
        else:
            specks = heart + np.clip(rng.normal(0, (0.045, 0.035), (count, 2)), -0.11, 0.11)
        radius = np.minimum(rng.lognormal(np.log(0.0085), 0.42, (count, 1)) * zoom, 0.024)
        radii = radius * rng.uniform(0.65, 1.2, (count, 2))
        _add(out, EXUDATE, specks, radii, rng.uniform(0.55, 1.0, count), rng, 0.35, 0.12, rng.uniform(0, 3.1, count))
        _box(out, "hard_exudate", (specks - radii.max(1, keepdims=True)).min(0),
             (specks + radii.max(1, keepdims=True)).max(0))  # fmt: skip


def _cotton(out: Lesions, site: _Site, count: int) -> None:
    """Fluffy pale patches, each of a few soft lobes."""
    rng, zoom = site.rng, site.eye.disc_radius / 0.128
    far = site.places(count, 0.11, None, lambda p: (np.hypot(*(p - site.fovea).T) > 0.22)
                      & (np.hypot(*(p - site.disc).T) < 0.85))  # fmt: skip
    for centre in far:
        radius = rng.uniform(0.026, 0.045) * min(zoom, 1.2)
        lobes = centre + rng.normal(0, 0.45 * radius, (4, 2)).clip(-0.6 * radius, 0.6 * radius)
        radii = radius * rng.uniform(0.6, 0.95, (4, 2))
        _add(out, COTTON, lobes, radii, rng.uniform(0.35, 0.8, 4), rng, 1.1, 0.10, rng.uniform(0, 3.1, 4))
        _box(out, "cotton_wool_spot", (lobes - radii).min(0), (lobes + radii).max(0))


def _bead(out: Lesions, site: _Site, tree: list[Branches]) -> bool:
    """Stretches of one or two large veins turn into strings of beads; whether there was room for any."""
    trunk, rng, beaded = tree[0], site.rng, False
    inside = np.hypot(trunk.points[..., 0], trunk.points[..., 1]) < 0.90
    inside &= np.hypot(*np.moveaxis(trunk.points - site.disc, -1, 0)) > 1.5 * site.eye.disc_radius
    usable = inside & (trunk.radius > 0) & trunk.vein[:, None]
    for b in np.argsort(-usable.sum(1))[:2]:
        where = np.nonzero(usable[b])[0][:14]
        while len(where) >= 5:
            reach = 1.8 * trunk.radius[b, where].max()
            low, high = trunk.points[b, where].min(0) - reach, trunk.points[b, where].max(0) + reach
            if np.ptp(where) == len(where) - 1 and site.holds(low, high):
                trunk.radius[b, where] *= np.where(where % 2 == 0, rng.uniform(1.5, 1.8), rng.uniform(0.7, 0.9))
                _box(out, "venous_beading", low, high)
                beaded = True
                break
            where = where[:-1]
    return beaded


def _tuft(
    out: Lesions, site: _Site, kind: str, root: np.ndarray, heading: np.ndarray, size: float, width: float
) -> None:
    """Curly small vessels that leave ``root (B, 2)`` and stay within about ``size`` and the field of view."""
    rng, count = site.rng, len(root)
    bend = rng.normal(0, 0.10, (count, 1)) * np.arange(_TUFT_STEPS)
    course = heading[:, None] + bend + np.cumsum(rng.normal(0, 0.55, (count, _TUFT_STEPS)), 1)
    stride = size * rng.uniform(0.9, 1.7, (count, 1)) / _TUFT_STEPS
    points = root[:, None] + np.cumsum(stride[..., None] * np.stack([np.cos(course), np.sin(course)], -1), 1)
    heart = root.mean(0)
    gap = np.hypot(*np.moveaxis(points - heart, -1, 0))[..., None]
    points = heart + (points - heart) * np.minimum(1, 1.25 * size / np.maximum(gap, 1e-9))
    for _ in range(8):
        low, high = points.reshape(-1, 2).min(0) - width, points.reshape(-1, 2).max(0) + width
        if site.holds(low, high):
            break
        points = heart + 0.85 * (points - heart)
    _strands(out, points, np.full((count, _TUFT_STEPS), width), VESSEL)
    _box(out, kind, low, high)


def _strands(out: Lesions, points: np.ndarray, width: np.ndarray, layer: int) -> None:
    out.tufts.append(points)
    out.widths.append(width)
    out.tuft_layers.append(np.full(len(points), layer))


def _irma(out: Lesions, site: _Site, count: int) -> None:
    rng = site.rng
    for heart in site.places(count, 0.14, None, lambda p: np.hypot(*(p - site.fovea).T) > 0.30):
        lines = int(rng.integers(3, 6))
        root = heart + rng.normal(0, 0.015, (lines, 2))
        _tuft(out, site, "irma", root, rng.uniform(0, 6.3, lines), 0.075, 0.0052)


def _proliferate(out: Lesions, site: _Site) -> None:
    """New vessels, bleedings in front of the retina, strands and laser scars: at least one of the first two."""
    rng, t = site.rng, site.eye.position
    disc, elsewhere, boat, cloud, strands, laser = rng.random(6) < np.array(
        [0.55, 0.55, 0.25 + 0.15 * t, 0.12 + 0.15 * t, 0.10 + 0.2 * t, 0.40]
    )
    if laser:
        _laser(out, site)
    bled = (boat and _boat(out, site)) | (cloud and _cloud(out, site))
    if disc or not (elsewhere or bled):
        _new_vessels(out, site, None)
    if elsewhere:
        for heart in site.places(int(rng.integers(1, 3)), 0.20, None, lambda p: np.hypot(*(p - site.fovea).T) > 0.42):
            _new_vessels(out, site, heart)
    if strands:
        _fibrosis(out, site)


def _new_vessels(out: Lesions, site: _Site, heart: np.ndarray | None) -> None:
    """A fan of new vessels, on the disc where no place is given."""
    rng, wide = site.rng, site.eye.disc_radius
    lines = int(rng.integers(12, 20))
    turn = rng.uniform(0, 2 * np.pi) + rng.uniform(-1.5, 1.5, lines)
    spread = 0.015 if heart is not None else 0.55 * wide
    root = (site.disc if heart is None else heart) + spread * np.stack([np.cos(turn), np.sin(turn)], 1)
    root = root + rng.normal(0, 0.015, root.shape)
    _tuft(out, site, "neovascularisation", root, turn, 0.125 if heart is not None else min(1.15 * wide, 0.17), 0.0056)


def _boat(out: Lesions, site: _Site) -> bool:
    """A bleeding with a level surface, in front of the retina."""
    width, height = site.rng.uniform(0.11, 0.24), site.rng.uniform(0.08, 0.17)
    heart = site.places(1, float(np.hypot(width, height)), None, off_disc=0.5)
    if len(heart):
        out.boats = np.array([[*heart[0], width, height]])
        _box(out, "preretinal_haemorrhage", heart - np.array([width, 0.12 * height]), heart + np.array([width, height]))
    return len(heart) > 0


def _cloud(out: Lesions, site: _Site) -> bool:
    """Blood in the vitreous: a dark red cloud."""
    width = site.rng.uniform(0.28, 0.5)
    heart = site.places(1, 0.62 * width * 2**0.5, None, off_disc=0.0)
    if len(heart):
        out.clouds = np.array([[*heart[0], width, site.rng.uniform(0.7, 1.0)]])
        _box(out, "vitreous_haemorrhage", heart - 0.62 * width, heart + 0.62 * width)
    return len(heart) > 0


def _fibrosis(out: Lesions, site: _Site) -> None:
    """A pale sheet with strands, along an arcade."""
    rng = site.rng
    for heart in site.places(1, 0.25, None, lambda p: np.hypot(*(p - site.fovea).T) > 0.38, off_disc=0.6):
        lines, base = int(rng.integers(5, 9)), rng.uniform(0, np.pi)
        bend = rng.normal(0, 0.05, (lines, 1)) * np.arange(_TUFT_STEPS)
        course = base + rng.normal(0, 0.45, (lines, 1)) + bend + np.cumsum(rng.normal(0, 0.10, (lines, _TUFT_STEPS)), 1)
        step = np.stack([np.cos(course), np.sin(course)], -1) * rng.uniform(0.014, 0.024, (lines, 1, 1))
        points = heart + np.cumsum(step, 1) - step.sum(1, keepdims=True) / 2 + rng.normal(0, 0.02, (lines, 1, 2))
        points = heart + np.clip(points - heart, -0.17, 0.17)
        width = rng.uniform(0.005, 0.013, (lines, 1)) * np.sin(np.linspace(0.3, 2.9, _TUFT_STEPS))
        _strands(out, points, width, FIBRE)
        _add(
            out, FIBRE, heart + rng.normal(0, 0.02, (3, 2)), rng.uniform(0.05, 0.11, (3, 2)), 0.5, rng, 1.6, 0.15, base
        )
        low, high = points.reshape(-1, 2).min(0) - width.max(), points.reshape(-1, 2).max(0) + width.max()
        _box(out, "fibrosis", low, high)


def _laser(out: Lesions, site: _Site) -> None:
    """Burns in rough rows outside the arcades, the old ones with pigment."""
    rng, gap = site.rng, site.rng.uniform(0.085, 0.13)
    axis = np.arange(-1, 1, gap)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    grid = grid + rng.normal(0, 0.22 * gap, grid.shape)
    keep = np.hypot(*(grid - site.fovea).T) > rng.uniform(0.48, 0.62) * site.eye.span / 0.69
    keep &= np.hypot(*(grid - site.disc).T) > 2.0 * site.eye.disc_radius
    keep &= (np.hypot(*grid.T) < 0.92) & (np.abs(grid[:, 1]) < site.cut - 0.06) & (rng.random(len(grid)) < 0.8)
    centre = grid[keep]
    radii = rng.uniform(0.020, 0.034, (len(centre), 1)) * rng.uniform(0.85, 1.1, (len(centre), 2))
    _add(out, SCAR, centre, radii, rng.uniform(0.25, 0.75, len(centre)), rng, 0.7, 0.10, rng.uniform(0, 3, len(centre)))
    _box(out, "laser_scar", centre - radii.max(1, keepdims=True), centre + radii.max(1, keepdims=True))
    old = rng.random(len(centre)) < rng.uniform(0.05, 0.55)
    dark = centre[old] + rng.normal(0, 0.005, (int(old.sum()), 2))
    _add(out, PIGMENT, dark, radii[old] * rng.uniform(0.3, 0.75, (len(dark), 2)), rng.uniform(0.5, 1, len(dark)), rng,
         0.5, 0.2, rng.uniform(0, 3, len(dark)))  # fmt: skip
