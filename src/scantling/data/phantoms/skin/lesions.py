"""Which skin lesions there are: class, attributes and outline of every one, from its number alone.

A class is a mixture: how much pigment and blood on average, and how often each dermoscopic pattern is seen. The
mixtures overlap, as those of patients do: no attribute proves a class. Classes come in the order of their frequency,
with an exponential profile between the first and the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from scantling.data.phantoms.lattice import SPLITS, generator, lattice, splits_of

Balanced = Literal["none", "test", "both"]

PATTERNS = (
    "network", "globules", "streaks", "veil", "vessels", "dots", "cysts", "plugs", "nests", "lacunae", "scale", "scar",
    "ulcer",
)  # fmt: skip
"""Dermoscopic patterns: pigment network, brown globules, streaks at the border, blue-white veil, branching vessels,
dotted vessels, milia-like cysts, plugs of keratin, blue-grey ovoid nests, red lacunae, scale, white scar, ulcer."""

TRAITS = ("radius", "elongation", "brown", "red", "variegation", "asymmetry", "irregularity", "softness")
"""Radius in half sides of the picture; elongation as the logarithm of the ratio of the axes; absorption by melanin and
by blood; blotches of pigment; a darker pole; unevenness and width of the border, in radii."""

IMAGES = (1, 2, 1, 1, 3, 1, 1, 2)
"""Images of a lesion, in a cycle over the lesions."""

PATIENTS = (0, 1, 2, 2, 3, 4, 5, 5)
"""Patients of the lesions of a cycle."""

_LOWEST = np.array([0.14, 0.0, 0.0, 0.0, 0.0, 0.0, 0.015, 0.05])
_LESION, _PATIENT, _ORDER, _FIRST = 31, 32, 36, np.cumsum((0, *IMAGES))


@dataclass(frozen=True)
class Profile:
    """One class of lesions.

    Args:
        name: of the class.
        mean: of :data:`TRAITS`.
        spread: their standard deviations.
        odds: probability of each of :data:`PATTERNS`.
    """

    name: str
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    odds: tuple[float, ...]


PROFILES = (
    Profile(
        "naevus", (0.36, 0.12, 0.62, 0.08, 0.20, 0.10, 0.04, 0.20), (0.08, 0.09, 0.20, 0.06, 0.08, 0.09, 0.02, 0.07),
        (0.70, 0.40, 0.05, 0.03, 0.01, 0.05, 0.05, 0.03, 0.01, 0.00, 0.01, 0.04, 0.00),
    ),
    Profile(
        "melanoma", (0.47, 0.20, 0.85, 0.14, 0.50, 0.55, 0.12, 0.14), (0.10, 0.11, 0.26, 0.10, 0.14, 0.20, 0.04, 0.07),
        (0.45, 0.45, 0.50, 0.60, 0.05, 0.20, 0.05, 0.04, 0.04, 0.00, 0.04, 0.30, 0.06),
    ),
    Profile(
        "keratosis", (0.40, 0.15, 0.52, 0.10, 0.30, 0.14, 0.06, 0.07), (0.10, 0.11, 0.22, 0.08, 0.11, 0.11, 0.03, 0.03),
        (0.08, 0.10, 0.02, 0.05, 0.04, 0.04, 0.80, 0.70, 0.02, 0.01, 0.14, 0.04, 0.01),
    ),
    Profile(
        "basal_cell_carcinoma",
        (0.36, 0.14, 0.10, 0.32, 0.28, 0.16, 0.06, 0.20), (0.09, 0.10, 0.10, 0.11, 0.10, 0.13, 0.03, 0.08),
        (0.03, 0.08, 0.03, 0.08, 0.85, 0.06, 0.06, 0.02, 0.65, 0.02, 0.12, 0.16, 0.35),
    ),
    Profile(
        "actinic_keratosis",
        (0.38, 0.17, 0.14, 0.40, 0.30, 0.12, 0.09, 0.36), (0.10, 0.11, 0.12, 0.12, 0.11, 0.10, 0.04, 0.10),
        (0.12, 0.05, 0.02, 0.02, 0.08, 0.45, 0.10, 0.14, 0.02, 0.00, 0.85, 0.06, 0.08),
    ),
    Profile(
        "vascular", (0.29, 0.11, 0.06, 0.85, 0.20, 0.10, 0.05, 0.12), (0.08, 0.09, 0.08, 0.24, 0.10, 0.10, 0.03, 0.05),
        (0.02, 0.05, 0.01, 0.12, 0.08, 0.08, 0.02, 0.02, 0.03, 0.85, 0.06, 0.05, 0.03),
    ),
    Profile(
        "dermatofibroma",
        (0.31, 0.11, 0.34, 0.15, 0.16, 0.08, 0.04, 0.36), (0.07, 0.08, 0.14, 0.09, 0.08, 0.09, 0.02, 0.09),
        (0.60, 0.10, 0.03, 0.02, 0.05, 0.12, 0.04, 0.03, 0.01, 0.00, 0.10, 0.90, 0.02),
    ),
)  # fmt: skip
"""The classes, most frequent first; they bear the names of the diagnoses whose looks they follow."""

CLASSES = tuple(profile.name for profile in PROFILES)


@dataclass(frozen=True)
class Lesion:
    """One lesion: what all its images share.

    Args:
        number: of the lesion.
        patient: number of the patient.
        split: ``train``, ``val`` or ``test``, the same for all lesions of a patient.
        site: number of the dermatoscope.
        label: position in :data:`CLASSES`.
        traits: values of :data:`TRAITS`, ``(8,)``.
        patterns: strengths of :data:`PATTERNS`, ``(13,)``; 0 where it is not seen, else 0.45 to 1.
        pigment: of the patient's skin, 0 (fair) to 1 (dark).
        flush: redness of the patient's skin, 0 to 1.
        hair: of the patient's skin, 0 (none) to 1.
    """

    number: int
    patient: int
    split: str
    site: int
    label: int
    traits: np.ndarray
    patterns: np.ndarray
    pigment: float
    flush: float
    hair: float

    @property
    def attributes(self) -> str:
        """Names of the patterns that are seen, joined by ``+``."""
        return "+".join(p for p, strength in zip(PATTERNS, self.patterns, strict=True) if strength > 0)


def lesion_of(index: int) -> int:
    """The lesion of an image.

    >>> [lesion_of(i) for i in range(6)]
    [0, 1, 1, 2, 3, 4]
    """
    cycle, place = divmod(index, int(_FIRST[-1]))
    return cycle * len(IMAGES) + int(np.searchsorted(_FIRST, place, side="right")) - 1


def patient_of(lesion: int) -> int:
    """The patient of a lesion."""
    cycle, place = divmod(lesion, len(PATIENTS))
    return cycle * (PATIENTS[-1] + 1) + PATIENTS[place]


def shares(classes: int, imbalance: float) -> np.ndarray:
    """Shares ``(classes,)`` of the classes, most frequent first; the first is ``imbalance`` times the last.

    The profile is exponential, as in the long-tailed versions of natural data sets (Cui et al. 2019, arXiv 1901.05555).

    >>> shares(3, 100.0).round(3).tolist()
    [0.901, 0.09, 0.009]
    """
    weights = imbalance ** -(np.arange(classes) / max(classes - 1, 1))
    return np.asarray(weights / weights.sum())


def labels_of(
    seed: int,
    count: int,
    classes: int = len(CLASSES),
    imbalance: float = 100.0,
    balanced: Balanced = "both",
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
) -> np.ndarray:
    """Classes ``(count,)`` of the first lesions; those of a longer sequence begin with them.

    In each split, every lesion gets the class that lacks most images, so that even the rarest class has its share of
    images to within a few, however many lesions are drawn.
    """
    settings = (seed, classes, imbalance, balanced, tuple(fractions))
    return _labels(*settings, count=1 << max(count - 1, 0).bit_length())[:count]


@lru_cache(maxsize=8)
def _labels(
    seed: int, classes: int, imbalance: float, balanced: Balanced, fractions: tuple[float, ...], count: int
) -> np.ndarray:
    numbers = np.arange(count)
    cycle, place = np.divmod(numbers, len(PATIENTS))
    splits = splits_of(seed, cycle * (PATIENTS[-1] + 1) + np.array(PATIENTS)[place], fractions).tolist()
    even = {"none": (), "test": ("test",), "both": ("val", "test")}[balanced]
    due = [shares(classes, 1.0 if split in even else imbalance).tolist() for split in SPLITS]
    lacking = [(generator(seed, _ORDER, s).uniform(-0.5, 0.5, classes)).tolist() for s in range(len(SPLITS))]
    labels = np.empty(count, dtype=np.int64)
    for number, split in enumerate(splits):
        images, owed = IMAGES[number % len(IMAGES)], lacking[split]
        for c, share in enumerate(due[split]):
            owed[c] += images * share
        labels[number] = best = owed.index(max(owed))
        owed[best] -= images
    labels.setflags(write=False)
    return labels


def draw_lesion(seed: int, number: int, label: int, split: str, sites: int = 1) -> Lesion:
    """The lesion ``number`` of the set ``seed``.

    Args:
        seed: number of the set.
        number: of the lesion.
        label: its class.
        split: of its patient.
        sites: number of sites.
    """
    patient = patient_of(number)
    profile = PROFILES[label]
    rng, person = generator(seed, _LESION, number), generator(seed, _PATIENT, patient)
    spread = np.clip(rng.standard_normal(len(TRAITS)), -2, 2) * profile.spread
    traits = np.maximum(np.asarray(profile.mean) + spread, _LOWEST)
    seen = rng.random(len(PATTERNS)) < profile.odds
    patterns = seen * rng.uniform(0.45, 1.0, len(PATTERNS))
    site = int(lattice(seed, patient)[2] * sites)
    return Lesion(
        number, patient, split, site, label, traits, patterns, float(person.beta(1.3, 3.2)), float(person.random()),
        float(person.beta(0.7, 1.6)),
    )  # fmt: skip
