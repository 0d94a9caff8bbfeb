"""Fetuses: how large the parts are that a sonographer measures, and where they lie under the probe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ellipe

PLANES = ("head", "abdomen", "femur")
WEEKS = (15.0, 38.0)
"""Youngest and oldest fetus."""

_HEAD_RATIO, _ABDOMEN_RATIO, _FEMUR_RATIO = (0.72, 0.84), (0.86, 0.98), (0.08, 0.13)


@dataclass(frozen=True)
class Shape:
    """What is measured in one frame, in millimetres: a filled ellipse, or a filled rectangle for a femur.

    Args:
        plane: one of :data:`PLANES`.
        semi_axes: half of the longer and of the shorter diameter or side.
        x: of its centre, to the right of the probe's middle.
        y: of its centre, down from the probe's middle.
        angle: of the longer axis, radians from x towards y, in (-pi/2, pi/2].
    """

    plane: str
    semi_axes: tuple[float, float]
    x: float
    y: float
    angle: float

    @property
    def lengths(self) -> dict[str, float]:
        """Exact lengths in millimetres: ``hc``, ``bpd`` and ``ofd``, or ``ac``, or ``fl``."""
        a, b = self.semi_axes
        if self.plane == "femur":
            return {"fl": 2 * a}
        around = 4 * a * float(ellipe(1 - (b / a) ** 2))
        return {"hc": around, "bpd": 2 * b, "ofd": 2 * a} if self.plane == "head" else {"ac": around}


def sizes(weeks: float) -> dict[str, float]:
    """Mean head and abdominal circumference and femur length at an age, in millimetres.

    Source: Papageorghiou et al. 2014, Lancet 384:869-879 (INTERGROWTH-21st).

    >>> {name: round(value) for name, value in sizes(20.0).items()}
    {'head': 172, 'abdomen': 148, 'femur': 31}
    """
    log = np.log(weeks)
    return {
        "head": float(-28.2849 + 1.69267 * weeks**2 - 0.397485 * weeks**2 * log),
        "abdomen": float(-81.3243 + 11.6772 * weeks - 0.000561865 * weeks**3),
        "femur": float(-39.9616 + 4.32298 * weeks - 0.0380156 * weeks**2),
    }


def draw_shape(plane: str, weeks: float, rng: np.random.Generator) -> Shape:
    """The part that a plane shows, of a fetus of this age: about the mean size, and turned as it happens to lie."""
    size = sizes(weeks)[plane] * float(np.exp(rng.normal(0, 0.035)))
    if plane == "femur":
        axes = (size / 2, size / 2 * float(rng.uniform(*_FEMUR_RATIO)))
        angle = float(rng.uniform(-0.8, 0.8))
    else:
        ratio = float(rng.uniform(*(_HEAD_RATIO if plane == "head" else _ABDOMEN_RATIO)))
        long = size / (4 * float(ellipe(1 - ratio**2)))
        axes = (long, long * ratio)
        level = plane == "head" and rng.random() < 0.8
        angle = float(np.clip(rng.normal(0, 0.35), -1.5, 1.5) if level else rng.uniform(-np.pi / 2, np.pi / 2))
    reach = axes[0] if plane != "femur" else max(axes[0], 18.0)
    depth = reach * float(rng.uniform(1.35, 1.75)) + 8
    return Shape(plane, axes, float(rng.normal(0, 0.12)) * reach, depth, angle)
