"""Random streams and places of phantom patients: what makes an image depend on its number and the seed alone.

Patients lie on a shifted lattice (multiples of irrational numbers), so that small sets hold every class, split and site
in about the right shares, whatever their size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SPLITS = ("train", "val", "test")

_STEPS = np.sqrt([2.0, 5.0, 3.0]) / [1, 2, 1] % 1.0
_SHIFT = 0


def generator(seed: int, *stream: int) -> np.random.Generator:
    """A random generator for one purpose and one image: independent of every other one."""
    return np.random.default_rng([seed, *stream])


def lattice(seed: int, number: int | np.ndarray) -> np.ndarray:
    """Position ``(..., 3)`` of patients ``(...)`` in the unit cube of (severity, split, site)."""
    return np.asarray((generator(seed, _SHIFT).random(3) + np.asarray(number)[..., None] * _STEPS) % 1.0)


def split_of(seed: int, patient: int, fractions: Sequence[float] = (0.7, 0.1, 0.2)) -> str:
    """The split of a patient: the same however many patients there are.

    Args:
        seed: number of the set.
        patient: number of the patient.
        fractions: shares of train, val and test; their sum is taken as the whole.
    """
    return SPLITS[int(splits_of(seed, np.array(patient), fractions))]


def splits_of(seed: int, patients: np.ndarray, fractions: Sequence[float]) -> np.ndarray:
    """Positions ``(...)`` in :data:`SPLITS` of patients ``(...)``; see :func:`split_of`."""
    bounds = np.cumsum(fractions) / np.sum(fractions)
    return np.minimum(np.searchsorted(bounds, lattice(seed, patients)[..., 1], side="right"), len(SPLITS) - 1)
