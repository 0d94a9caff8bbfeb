"""The retinal vessel tree: arcades that leave the disc and bend round the macula, with two orders of side branches.

All branches of one order grow together, step by step: at every step a branch turns a little towards the course that its
place asks for, and a little at random. Growth happens in a frame with the disc at the origin and the fovea at (-1, 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scantling.data.phantoms.eyes import Eye

TRUNK_STEPS, BRANCH_STEPS, TWIG_STEPS = 36, 16, 10
_AVASCULAR = 0.17
_ARCADE, _NASAL, _MACULAR = range(3)


@dataclass
class Branches:
    """Vessels of one order, ``B`` branches of ``T`` points.

    Args:
        points: ``(B, T, 2)`` in radii of the field of view, for a right eye.
        radius: ``(B, T)`` in the same unit; 0 where the vessel has ended.
        vein: ``(B,)`` bool; the others are arteries.
    """

    points: np.ndarray
    radius: np.ndarray
    vein: np.ndarray


def grow_tree(eye: Eye, rng: np.random.Generator) -> list[Branches]:
    """Trunks, branches and twigs of an eye, thickest first.

    Args:
        eye: gives the places of disc and fovea, the magnification and the tortuosity.
        rng: source of every random choice.
    """
    trunk, radius, vein = _trunks(eye, rng)
    orders = [(trunk, radius, vein)]
    spot, heading, thick, of = _sprouts(trunk, radius, 10, (0.12, 0.34), rng)
    keep = np.hypot(*spot.T) > 0.12
    spot, heading, thick, of = spot[keep], heading[keep], thick[keep], of[keep]
    points, width = _branch_out(spot, heading, thick * rng.uniform(0.5, 0.85, len(spot)), eye.tortuosity, rng)
    orders.append((points, width, vein[of]))
    spot, heading, thick, twig_of = _sprouts(points, width, 4, (0.08, 0.30), rng)
    length = rng.uniform(0.10, 0.34, len(spot))
    points = _walk(spot, heading, length, TWIG_STEPS, np.zeros(len(spot)), None, 1.1 * eye.tortuosity, rng)
    width = thick[:, None] * rng.uniform(0.5, 0.8, len(spot))[:, None] * np.linspace(1, 0.55, TWIG_STEPS)
    orders.append((points, _end_near_fovea(points, width), vein[of][twig_of]))
    return [Branches(_to_field(p, eye), r * eye.span, v) for p, r, v in orders]


def _trunks(eye: Eye, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, radii and kind of the vessels that leave the disc: arcades, nasal ones, small ones to the macula."""
    course = np.array([_ARCADE] * 4 + [_NASAL] * 6 + [_MACULAR] * 3)
    vein = np.array([True, True, False, False, True, True, False, False, True, False, False, True, False])
    up = np.array([-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, 1])
    count = len(course)
    present = rng.random(count) < np.where(course == _MACULAR, 0.6, np.where(np.arange(count) > 7, 0.5, 1.0))
    course, vein, up = course[present], vein[present], up[present]
    count = len(course)
    lean = np.where(vein, 0.12, -0.08) * rng.choice([-1, 1]) + rng.normal(0, 0.22, count)
    angle = np.select(
        [course == _ARCADE, course == _NASAL],
        [np.pi / 2 - 0.1 - lean, rng.uniform(0.25, 1.15, count)],
        np.pi - rng.uniform(0.35, 0.75, count),
    )
    heading = up * angle
    start = np.stack([rng.uniform(-0.035, 0.035, count) + 0.02, up * rng.uniform(0.0, 0.05, count)], 1)
    length = np.select([course == _ARCADE, course == _NASAL], [2.9, 1.2], 0.55) * rng.uniform(0.85, 1.1, count)
    height = rng.uniform(0.66, 0.92, count) + np.where(vein, 0.04, -0.04)
    pull = np.select([course == _ARCADE, course == _NASAL], [0.16, 0.02], 0.16)
    pull = pull * rng.uniform(0.8, 1.3, count)

    def aim(at: np.ndarray) -> np.ndarray:
        rise = np.abs(at[:, 1])
        back = np.clip((-0.8 - at[:, 0]) / 1.2, 0, 1.4)
        arcade = np.arctan2(up * (1 - back), -2 * rise / height**2)
        return np.where(course == _ARCADE, arcade, np.where(course == _NASAL, 0.8 * up, np.pi))

    points = _walk(start, heading, length, TRUNK_STEPS, pull, aim, 0.42 * eye.tortuosity, rng)
    root = np.select([course == _ARCADE, course == _NASAL], [0.0195, 0.0135], 0.0080) * np.where(vein, 1.0, 0.78)
    root = root * rng.normal(1, 0.08, count)
    taper = np.linspace(1, 0.42, TRUNK_STEPS)
    return points, _end_near_fovea(points, root[:, None] * taper), vein


def _sprouts(
    points: np.ndarray, radius: np.ndarray, most: int, gap: tuple[float, float], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Places, headings, parent radii and parents of side branches, at most ``most`` a parent, on alternate sides."""
    count, steps = radius.shape
    delta = np.diff(points, axis=1)
    step = np.hypot(delta[..., 0], delta[..., 1]).mean(1)
    along = np.cumsum(rng.uniform(*gap, (count, most)), 1)
    at = (along / step[:, None]).astype(np.intp)
    turn = rng.choice([-1, 1], (count, 1)) * (-1) ** np.arange(most) * rng.uniform(0.4, 1.0, (count, most))
    turn = np.where(rng.random((count, most)) < 0.25, -turn, turn)
    of, nth = np.nonzero(at < steps - 2)
    at = at[of, nth]
    heading = np.arctan2(delta[of, at, 1], delta[of, at, 0]) + turn[of, nth]
    thick = radius[of, at]
    alive = thick > 0
    return points[of, at][alive], heading[alive], thick[alive], of[alive]


def _branch_out(
    spot: np.ndarray, heading: np.ndarray, root: np.ndarray, tortuosity: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Side branches of the trunks: those that set out for the macula converge on it, the others fan out."""
    fovea = np.array([-1.0, 0.0])
    gap = fovea - spot
    distance = np.hypot(*gap.T)
    inward = (np.cos(heading) * gap[:, 0] + np.sin(heading) * gap[:, 1]) > 0.15 * distance
    inward &= spot[:, 0] < -0.12
    length = np.where(inward, np.maximum(distance - 0.1, 0.1) * rng.uniform(0.55, 0.98, len(spot)), 0.0)
    length = np.where(inward, length, rng.uniform(0.35, 1.0, len(spot)))

    def aim(at: np.ndarray) -> np.ndarray:
        to = fovea - at
        out = at - np.array([-0.45, 0.0])
        return np.where(inward, np.arctan2(to[:, 1], to[:, 0]), np.arctan2(out[:, 1], out[:, 0]))

    pull = np.where(inward, 0.09, 0.07)
    points = _walk(spot, heading, length, BRANCH_STEPS, pull, aim, 0.75 * tortuosity, rng)
    return points, _end_near_fovea(points, root[:, None] * np.linspace(1, 0.5, BRANCH_STEPS))


def _walk(
    start: np.ndarray,
    heading: np.ndarray,
    length: np.ndarray,
    steps: int,
    pull: np.ndarray,
    aim: Callable[[np.ndarray], np.ndarray] | None,
    wander: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Points ``(B, steps, 2)`` of paths that turn towards ``aim(points)`` by the share ``pull`` and wander."""
    time = length[:, None, None] * np.linspace(0, 1, steps)[:, None]
    pitch = rng.uniform(0.6, 3.2, (len(start), 1, 3))
    sway = (np.sin(2 * np.pi * (pitch * time + rng.random((len(start), 1, 3)))) * pitch).sum(-1)
    sway *= wander * (length / (steps - 1))[:, None] * np.minimum(np.arange(steps) / 3, 1)
    stride = length / (steps - 1)
    points = np.empty((len(start), steps, 2))
    at, course = start, heading
    if aim is None:
        course = heading[:, None] + np.cumsum(sway, 1)
        pace = np.stack([np.cos(course), np.sin(course)], -1) * stride[:, None, None]
        return start[:, None] + np.cumsum(pace, 1) - pace[:, :1]
    pace = np.empty((len(start), 2))
    for k in range(steps):
        points[:, k] = at
        course = course + pull * ((aim(at) - course + np.pi) % (2 * np.pi) - np.pi) + sway[:, k]
        np.cos(course, out=pace[:, 0])
        np.sin(course, out=pace[:, 1])
        at = at + stride[:, None] * pace
    return points


def _end_near_fovea(points: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Radii with every vessel ended where it enters the avascular zone."""
    inside = np.hypot(points[..., 0] + 1, points[..., 1]) < _AVASCULAR
    return np.where(np.maximum.accumulate(inside, 1), 0.0, radius)


def _to_field(points: np.ndarray, eye: Eye) -> np.ndarray:
    axis = (np.asarray(eye.disc) - np.asarray(eye.fovea)) / eye.span
    turn = np.array([[axis[0], axis[1]], [-axis[1], axis[0]]])
    return np.asarray(eye.disc) + eye.span * points @ turn
