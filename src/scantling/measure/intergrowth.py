"""INTERGROWTH-21st: gestational age and weight from measurements, and how large a fetus of an age is.

The formulas take millimetres here. Coefficients of the age come from our method sheet; those of the weight, and of the
means and deviations by age, were written from memory and agree with several independent public implementations.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from scantling.measure.formula import Formula
from scantling.measure.growth import Standard

WEEKS = (14.0, 40.0)
"""Ages that the standards cover."""

WEIGHT_WEEKS = (22.0, 40.0)
"""Ages for which the weight formula was made; from memory."""

SIZE_CITATION = "Papageorghiou et al. Lancet 2014;384:869-879"
AGE_CITATION = "Papageorghiou et al. Ultrasound Obstet Gynecol 2016;48:719-726"
WEIGHT_CITATION = "Stirnemann et al. Ultrasound Obstet Gynecol 2017;49:478-486"

_TERMS: dict[str, tuple[dict[tuple[int, int], float], dict[tuple[int, int], float], bool]] = {
    "hc": (
        {(0, 0): -28.2849, (2, 0): 1.69267, (2, 1): -0.397485},
        {(0, 0): 1.98735, (3, 0): 0.0136772, (3, 1): -0.00726264, (3, 2): 0.000976253},
        False,
    ),
    "bpd": (
        {(0, 0): 5.60878, (2, 0): 0.158369, (3, 0): -0.00256379},
        {(0, 0): 0.101242, (3, 0): 0.00150557, (3, 1): -0.000771535, (3, 2): 0.0000999638},
        True,
    ),
    "ofd": (
        {(0, 0): -12.4097, (2, 0): 0.626342, (2, 1): -0.148075},
        {(0, 0): -0.880034, (2, 0): 0.0631165, (2, 1): -0.0317136, (2, 2): 0.00408302},
        True,
    ),
    "ac": (
        {(0, 0): -81.3243, (1, 0): 11.6772, (3, 0): -0.000561865},
        {(0, 0): -4.36302, (2, 0): 0.121445, (3, 0): -0.0130256, (3, 1): 0.00282143},
        False,
    ),
    "fl": (
        {(0, 0): -39.9616, (1, 0): 4.32298, (2, 0): -0.0380156},
        {(0, 0): 0.605843, (-2, 0): -42.0014, (3, 0): 0.00000917972},
        True,
    ),
}
"""Factors by the powers of W (weeks) and of ln W: of the mean, of the deviation or its logarithm, and which of both."""

SIZES = MappingProxyType({
    name: Standard(f"intergrowth_2014_{name}", name, mean, deviation, logarithm, WEEKS, SIZE_CITATION)
    for name, (mean, deviation, logarithm) in _TERMS.items()
})  # fmt: skip
"""Normal distributions of measurements at an age, in millimetres."""


def _inputs(names: tuple[str, ...], weeks: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    """From two deviations below the mean of the first week to two above that of the last, mm."""
    ends = [[float(SIZES[name].at(week, z).value) for week, z in zip(weeks, (-2, 2), strict=True)] for name in names]
    return tuple((round(low, 1), round(high, 1)) for low, high in ends)


def _age(hc: np.ndarray, fl: np.ndarray) -> np.ndarray:
    log = np.log(hc)
    return np.asarray(np.exp(0.03243 * log**2 + 0.001644 * fl * log + 3.813))


def _weight(hc: np.ndarray, ac: np.ndarray) -> np.ndarray:
    hc, ac = hc / 100, ac / 100
    return np.asarray(np.exp(5.084820 - 54.06633 * ac**3 - 95.80076 * ac**3 * np.log(ac) + 3.136370 * hc))


AGE = Formula(
    "intergrowth_2016_HF", "gestational_age", "days", ("hc", "fl"), "mm",
    "exp(0.03243 ln(H)^2 + 0.001644 F ln(H) + 3.813)", _age, (98.0, 280.0), _inputs(("hc", "fl"), WEEKS), AGE_CITATION,
    "for 14 to 40 weeks, from memory",
)  # fmt: skip
"""Gestational age in days from head and femur."""

WEIGHT = Formula(
    "intergrowth_2017_HA", "estimated_weight", "g", ("hc", "ac"), "cm",
    "exp(5.084820 - 54.06633 (A/100)^3 - 95.80076 (A/100)^3 ln(A/100) + 3.136370 H/100)", _weight, (350.0, 5500.0),
    _inputs(("hc", "ac"), WEIGHT_WEEKS), WEIGHT_CITATION,
    "from memory, checked against public implementations; for 22 to 40 weeks",
)  # fmt: skip
"""Estimated fetal weight in grams from head and abdomen."""
