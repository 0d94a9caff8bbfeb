"""Distances between two distributions of similarities, all behind one call.

Some need means and variances alone, others the histogram; ``Distance.needs`` says which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scantling.assess.histogram import BINS
from scantling.assess.moments import Moments
from scantling.core.errors import RecipeError, nearest

EQUAL = 1e-12
"""Means that differ by less are the same."""
SMOOTHING = 0.01
"""Share of a uniform distribution that KL and JS mix into both histograms, so that empty bins have a logarithm."""
COARSE = 8
"""Bins that KL and JS take together: finer ones would be compared by the noise of few pairs."""
_WIDTH = 2.0 / BINS


@dataclass(frozen=True)
class Similarities:
    """The similarities of one set, of one kind of pairs; with leading dimensions for several replicates.

    Args:
        moments: of shape S.
        histogram: ``(*S, BINS)``, any scale, at least 0; None where it was not computed.
    """

    moments: Moments
    histogram: np.ndarray | None = None


@dataclass(frozen=True)
class Distance:
    """A distance by its name.

    Args:
        name: of the distance.
        needs: ``moments`` or ``histogram``.
        symmetric: whether real and synthetic may change places.
        of: the distance of shape S, at least 0, of real and synthetic similarities.
    """

    name: str
    needs: Literal["moments", "histogram"]
    symmetric: bool
    of: Callable[[Similarities, Similarities], np.ndarray]

    def __call__(self, real: Similarities, synthetic: Similarities) -> np.ndarray:
        """The distance of shape S; NaN where one of the two has no pairs or no histogram."""
        if self.needs == "histogram" and (real.histogram is None or synthetic.histogram is None):
            return np.full(np.shape(real.moments.mean), np.nan)
        found = np.asarray(self.of(real, synthetic), dtype=np.float64)
        known = np.isfinite(real.moments.mean) & np.isfinite(synthetic.moments.mean)
        return np.where(known, found, np.nan)


def distance_of(name: str) -> Distance:
    """A distance of the menu.

    Raises:
        RecipeError: an unknown name.
    """
    if name not in DISTANCES:
        do = f"use one of {', '.join(DISTANCES)}"
        raise RecipeError(f"unknown distance '{name}'{nearest(name, DISTANCES)}", where="distance", do=do)
    return DISTANCES[name]


def _fisher(real: Similarities, synthetic: Similarities) -> np.ndarray:
    """``(mu_R - mu_S)^2 / (var_R + var_S)``."""
    return _ratio(_gap(real, synthetic) ** 2, real.moments.variance + synthetic.moments.variance)


def _biometric(real: Similarities, synthetic: Similarities) -> np.ndarray:
    """``|mu_R - mu_S| / (sd_R + sd_S)``, the F-ratio of biometric score fusion."""
    return _ratio(_gap(real, synthetic), real.moments.sd + synthetic.moments.sd)


def _variance(real: Similarities, synthetic: Similarities) -> np.ndarray:
    """Larger variance over the smaller one, less 1; means do not count."""
    one, two = np.asarray(real.moments.variance), np.asarray(synthetic.moments.variance)
    return _ratio(np.maximum(one, two) - np.minimum(one, two), np.minimum(one, two))


def _wasserstein(real: Similarities, synthetic: Similarities) -> np.ndarray:
    """Earth mover's distance: the area between the distribution functions."""
    return np.abs(_steps(real, synthetic)).sum(-1) * _WIDTH


def _energy(real: Similarities, synthetic: Similarities) -> np.ndarray:
    """Energy distance: root of twice the squared difference of the distribution functions, integrated."""
    return np.sqrt(2 * (_steps(real, synthetic) ** 2).sum(-1) * _WIDTH)


def _ks(real: Similarities, synthetic: Similarities) -> np.ndarray:
    """Kolmogorov-Smirnov: the largest difference of the distribution functions."""
    return np.abs(_steps(real, synthetic)).max(-1)


def _kl(real: Similarities, synthetic: Similarities) -> np.ndarray:
    """Kullback-Leibler divergence of the synthetic from the real similarities, KL(R || S), in nats."""
    return _divergence(_smooth(real), _smooth(synthetic))


def _js(real: Similarities, synthetic: Similarities) -> np.ndarray:
    """Jensen-Shannon divergence in nats, at most ln 2."""
    one, two = _smooth(real), _smooth(synthetic)
    middle = (one + two) / 2
    return (_divergence(one, middle) + _divergence(two, middle)) / 2


DISTANCES = {
    d.name: d
    for d in (
        Distance("fisher", "moments", True, _fisher),
        Distance("biometric", "moments", True, _biometric),
        Distance("variance", "moments", True, _variance),
        Distance("wasserstein", "histogram", True, _wasserstein),
        Distance("energy", "histogram", True, _energy),
        Distance("ks", "histogram", True, _ks),
        Distance("kl", "histogram", False, _kl),
        Distance("js", "histogram", True, _js),
    )
}
"""All distances by name; ``fisher`` is the default."""


def _gap(real: Similarities, synthetic: Similarities) -> np.ndarray:
    gap = np.abs(np.asarray(real.moments.mean) - np.asarray(synthetic.moments.mean))
    return np.where(gap < EQUAL, 0.0, gap)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """A quotient that is 0 where the numerator is, and infinite where only the denominator is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(above == 0, 0.0, np.asarray(above) / np.asarray(below))


def _density(one: Similarities) -> np.ndarray:
    assert one.histogram is not None
    total = one.histogram.sum(-1, keepdims=True)
    return one.histogram / np.where(total > 0, total, 1.0)


def _steps(real: Similarities, synthetic: Similarities) -> np.ndarray:
    """Difference of the distribution functions at the upper ends of the bins."""
    return np.cumsum(_density(real) - _density(synthetic), -1)


def _smooth(one: Similarities) -> np.ndarray:
    density = _density(one)
    coarse = density.reshape(*density.shape[:-1], -1, COARSE).sum(-1)
    return (1 - SMOOTHING) * coarse + SMOOTHING * COARSE / BINS


def _divergence(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return np.maximum((one * np.log(one / two)).sum(-1), 0.0)
