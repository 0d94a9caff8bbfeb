"""Who the phantom patients are: severity, grade, anatomy, site and split of every eye, from its number alone.

All positions are in units of the radius of the field of view, centred on it, x to the right and y down, drawn for a
right eye (its disc lies right); a left eye is the mirror image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from scantling.core.errors import DataError, nearest
from scantling.data.phantoms.lattice import generator, lattice

EYE_CORRELATION = 0.8
"""Correlation of the latent severity between the two eyes of a patient."""

PRIORS: dict[str, tuple[float, ...]] = {
    "moderate": (0.40, 0.15, 0.23, 0.12, 0.10),
    "balanced": (0.20, 0.20, 0.20, 0.20, 0.20),
    "eyepacs": (0.7348, 0.0696, 0.1507, 0.0248, 0.0201),
}
"""Shares of the grades 0-4. ``eyepacs``: the training set of the Kaggle competition of 2015."""

_PATIENT, _EYE = 1, 2


@dataclass(frozen=True)
class Eye:
    """One eye: what is fixed before anything is drawn.

    Args:
        index: number of the image; ``index // 2`` is the patient, even numbers are right eyes.
        grade: diabetic retinopathy, 0-4.
        position: where the eye stands inside its grade, in [0, 1): 0 is just in, 1 nearly the next grade.
        latent: severity as a standard normal variable; the grade is its bin.
        site: number of the camera.
        pigment: 0 (blond fundus, choroid shines through) to 1 (dark).
        age: 0 (young, glossy) to 1.
        tint: of red, green and blue, logarithms.
        tortuosity: 0.6 (straight vessels) to 1.6.
        cup_ratio: diameter of the cup over that of the disc.
        disc: centre of the optic disc.
        disc_radius: its mean radius.
        fovea: centre of the macula.
    """

    index: int
    grade: int
    position: float
    latent: float
    site: int
    pigment: float
    age: float
    tint: tuple[float, float, float]
    tortuosity: float
    cup_ratio: float
    disc: tuple[float, float]
    disc_radius: float
    fovea: tuple[float, float]

    @property
    def patient(self) -> int:
        """Number of the patient."""
        return self.index // 2

    @property
    def laterality(self) -> str:
        """``right`` or ``left``."""
        return "left" if self.index % 2 else "right"

    @property
    def side(self) -> int:
        """+1 for a right eye, -1 for a left eye: the sign of x."""
        return -1 if self.index % 2 else 1

    @property
    def span(self) -> float:
        """Distance from disc to fovea."""
        return float(np.hypot(self.disc[0] - self.fovea[0], self.disc[1] - self.fovea[1]))


def draw_eye(seed: int, index: int, sites: int = 1, prior: str = "moderate", zoom: Sequence[float] = (1.0,)) -> Eye:
    """The eye number ``index`` of the set ``seed``.

    Args:
        seed: number of the set, not negative.
        index: number of the image.
        sites: number of sites; a patient is always photographed at one of them.
        prior: shares of the grades, a name of :data:`PRIORS`.
        zoom: magnification of every site's camera, cycled; 1 is a field of 45 degrees.

    Raises:
        DataError: an unknown prior.

    >>> right, left = draw_eye(0, 6), draw_eye(0, 7)
    >>> right.patient == left.patient, right.laterality, left.laterality
    (True, 'right', 'left')
    """
    if prior not in PRIORS:
        raise DataError(f"unknown prior '{prior}'{nearest(prior, PRIORS)}", do=f"use one of {', '.join(PRIORS)}")
    place = lattice(seed, index // 2)
    site = int(place[2] * sites)
    person, own = generator(seed, _PATIENT, index // 2), generator(seed, _EYE, index)
    shared = NormalDist().inv_cdf(float(np.clip(place[0], 1e-9, 1 - 1e-9)))
    latent = EYE_CORRELATION**0.5 * shared + (1 - EYE_CORRELATION) ** 0.5 * own.standard_normal()
    grade, position = _grade(NormalDist().cdf(latent), PRIORS[prior])
    pigment, age, tortuosity = person.beta(1.6, 1.6), person.random(), 0.6 + person.random()
    red, green, blue = (float(v) for v in person.normal(0, (0.04, 0.07, 0.13)))
    cup_ratio = float(np.clip(person.normal(0.42, 0.11) + own.normal(0, 0.03), 0.25, 0.78))
    scale = zoom[site % len(zoom)]
    span = 0.69 * scale * person.normal(1, 0.035)
    disc_radius = 0.128 * scale * float(np.clip(person.normal(1, 0.07), 0.8, 1.25))
    tilt = np.deg2rad(own.normal(6, 3.5))
    middle = own.normal((0.30, -0.03), (0.06, 0.05)) / max(scale, 1.0)
    half = 0.5 * span * np.array([np.cos(tilt), -np.sin(tilt)])
    disc = middle + half
    over = max(0.0, float(np.hypot(*disc)) + disc_radius * 1.2 - 0.97)
    middle -= over * disc / np.hypot(*disc)
    disc, fovea = middle + half, middle - half
    return Eye(
        index, grade, position, latent, site, pigment, age, (red, green, blue), tortuosity,
        cup_ratio, (float(disc[0]), float(disc[1])), disc_radius, (float(fovea[0]), float(fovea[1])),
    )  # fmt: skip


def _grade(quantile: float, prior: Sequence[float]) -> tuple[int, float]:
    bounds = np.concatenate([[0.0], np.cumsum(prior)])
    grade = min(int(np.searchsorted(bounds, quantile, side="right")) - 1, len(prior) - 1)
    return grade, float(min((quantile - bounds[grade]) / prior[grade], 1 - 1e-6))
