"""How large a fetus is for its age: z-scores, centiles, weight for age, ratios, growth between two scans.

The age must be known from elsewhere, such as a scan in the first trimester: an age that was estimated from the same
measurements says that every fetus is of average size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from scantling.core.errors import DataError
from scantling.measure.formula import Estimate, Formula

MEDIAN_WEIGHT_CITATION = "Hadlock, Harrist, Martinez-Poyer. Radiology 1991;181:129-133"

WEIGHT_DEVIATION = 0.13
"""Standard deviation of weight as a share of the median; from memory (12.7 to 13.3 % in the 1991 paper), so an option.

With it the 3rd, 10th, 90th and 97th centiles are 0.76, 0.83, 1.17 and 1.24 times the median.
"""

WEIGHT_WEEKS = (10.0, 41.0)
"""Ages for which the median weight is given; from memory."""


@dataclass(frozen=True)
class Standard:
    """A normal distribution of one measurement at each age.

    Args:
        name: by which it is recorded.
        measurement: ``hc``, ``bpd``, ``ofd``, ``ac`` or ``fl``.
        mean: factors of the mean in millimetres by the powers of W (weeks) and of ln W.
        deviation: factors of the standard deviation, or of its natural logarithm.
        logarithm: which of both.
        valid: least and greatest age in weeks.
        citation: of the paper.
    """

    name: str
    measurement: str
    mean: Mapping[tuple[int, int], float]
    deviation: Mapping[tuple[int, int], float]
    logarithm: bool
    valid: tuple[float, float]
    citation: str

    def at(self, weeks: ArrayLike, z: ArrayLike = 0.0) -> Estimate:
        """Millimetres at an age and a z-score; 0 is the mean, -1.28 the 10th centile."""
        age = np.asarray(weeks, dtype=np.float64)
        value = _sum(self.mean, age) + np.asarray(z) * self._deviation(age)
        return Estimate(value[()], self._covers(age, value))

    def z_score(self, millimetres: ArrayLike, weeks: ArrayLike) -> Estimate:
        """Standard deviations above the mean of that age."""
        age = np.asarray(weeks, dtype=np.float64)
        value = (np.asarray(millimetres, dtype=np.float64) - _sum(self.mean, age)) / self._deviation(age)
        return Estimate(value[()], self._covers(age, value))

    def centile(self, millimetres: ArrayLike, weeks: ArrayLike) -> Estimate:
        """Share of fetuses of that age that are smaller, in percent."""
        found = self.z_score(millimetres, weeks)
        return Estimate(100 * ndtr(found.value), found.valid)

    @property
    def equations(self) -> tuple[str, str]:
        """Mean and standard deviation as text."""
        deviation = _written(self.deviation)
        return _written(self.mean), f"exp({deviation})" if self.logarithm else deviation

    def _deviation(self, weeks: np.ndarray) -> np.ndarray:
        found = _sum(self.deviation, weeks)
        return np.exp(found) if self.logarithm else found

    def _covers(self, weeks: np.ndarray, value: np.ndarray) -> np.ndarray:
        low, high = self.valid
        return np.asarray((weeks >= low) & (weeks <= high) & np.isfinite(value))[()]


CRL_AGE = Formula(
    "robinson_fleming_1975_CRL", "gestational_age", "days", ("crl",), "mm", "8.052 sqrt(1.037 CRL) + 23.73",
    lambda crl: 8.052 * np.sqrt(1.037 * crl) + 23.73, (42.0, 99.0), ((6.0, 84.0),),
    "Robinson, Fleming. Br J Obstet Gynaecol 1975;82:702-710", "for crown-rump lengths of 6 to 84 mm, from memory",
)  # fmt: skip
"""Gestational age in days from the crown-rump length in the first trimester."""


def median_weight(weeks: ArrayLike) -> Estimate:
    """Median fetal weight in grams at an age.

    Source: Hadlock et al. 1991: ``ln W = 0.578 + 0.332 GA - 0.00354 GA^2``.

    >>> median_weight([20.0, 40.0]).value.round(1).tolist()
    [331.0, 3619.2]
    """
    age = np.asarray(weeks, dtype=np.float64)
    low, high = WEIGHT_WEEKS
    value = np.exp(0.578 + 0.332 * age - 0.00354 * age**2)
    return Estimate(value[()], np.asarray((age >= low) & (age <= high))[()])


def weight_z_score(grams: ArrayLike, weeks: ArrayLike, deviation: float = WEIGHT_DEVIATION) -> Estimate:
    """Standard deviations above the median weight of that age.

    Args:
        grams: weight.
        weeks: age.
        deviation: standard deviation as a share of the median.

    Raises:
        DataError: a deviation that is not positive.
    """
    if not deviation > 0:
        raise DataError(f"a deviation of {deviation}", do="give a share of the median above 0, such as 0.13")
    median = median_weight(weeks)
    value = (np.asarray(grams, dtype=np.float64) / median.value - 1) / deviation
    return Estimate(value[()], median.valid & np.isfinite(value))


def weight_centile(grams: ArrayLike, weeks: ArrayLike, deviation: float = WEIGHT_DEVIATION) -> Estimate:
    """Share of fetuses of that age that weigh less, in percent; see :func:`weight_z_score`."""
    found = weight_z_score(grams, weeks, deviation)
    return Estimate(100 * ndtr(found.value), found.valid)


def weight_at(centile: ArrayLike, weeks: ArrayLike, deviation: float = WEIGHT_DEVIATION) -> Estimate:
    """Grams of a centile (0 to 100) at an age; see :func:`weight_z_score`."""
    median = median_weight(weeks)
    return Estimate(median.value * (1 + deviation * ndtri(np.asarray(centile) / 100)), median.valid)


def growth(
    first: tuple[float, float], second: tuple[float, float], deviation: float = WEIGHT_DEVIATION
) -> dict[str, float]:
    """Growth between two scans.

    Args:
        first: weight in grams and age in weeks.
        second: likewise, later.
        deviation: see :func:`weight_z_score`.

    Returns:
        ``grams_per_day``, and ``z_per_week``: the change of the z-score; below 0, it falls behind.

    Raises:
        DataError: the second scan is not later.
    """
    days = 7 * (second[1] - first[1])
    if not days > 0:
        raise DataError("the second scan is not later than the first", do="give the earlier scan first")
    change = weight_z_score(*second, deviation).value - weight_z_score(*first, deviation).value
    return {"grams_per_day": (second[0] - first[0]) / days, "z_per_week": float(change) * 7 / days}


def ratios(lengths: Mapping[str, float]) -> dict[str, float]:
    """Ratios of the lengths that there are, in one unit.

    Returns:
        ``cephalic_index`` (100 BPD / OFD; mean 78.3, common from 74 to 83: Hadlock 1981), ``fl_ac`` (100 FL / AC, about
        20 to 24; from memory) and ``hc_ac`` (HC / AC, from about 1.2 down to 1.0 at term; from memory).
    """
    asked = {"cephalic_index": ("bpd", "ofd", 100.0), "fl_ac": ("fl", "ac", 100.0), "hc_ac": ("hc", "ac", 1.0)}
    return {
        name: factor * lengths[above] / lengths[below]
        for name, (above, below, factor) in asked.items()
        if above in lengths and below in lengths
    }


def _sum(terms: Mapping[tuple[int, int], float], weeks: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(weeks)
        parts = [factor * weeks ** float(power) * log**logs for (power, logs), factor in terms.items()]
    return np.asarray(sum(parts))


def _written(terms: Mapping[tuple[int, int], float]) -> str:
    parts: list[str] = []
    for (power, logs), factor in terms.items():
        names = [] if power == 0 else ["W" if power == 1 else f"W^{power}"]
        names += [] if logs == 0 else ["ln(W)" if logs == 1 else f"ln(W)^{logs}"]
        sign = "-" if factor < 0 and not parts else "- " if factor < 0 else "+ " if parts else ""
        number = np.format_float_positional(abs(factor), trim="-")
        parts.append(" ".join([f"{sign}{number}", *names]))
    return " ".join(parts)
