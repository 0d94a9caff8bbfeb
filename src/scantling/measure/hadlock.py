"""Hadlock's formulas of gestational age (1984) and fetal weight (1985).

Coefficients stand here once, as they were published, in centimetres: B biparietal diameter, H head circumference, A
abdominal circumference, F femur length. Typing errors circulate: 0.0158 for 0.158 F in the weight by H, A and F; the
square for the cube of H in the age by H; a minus before the square of A in the age by A.

Hadlock measured the biparietal diameter from the outer to the inner edge of the skull (from memory); an ellipse round
the head gives outer to outer, which is longer by the thickness of one parietal bone.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from scantling.measure.formula import Formula, polynomial, written

AGE_CITATION = "Hadlock, Deter, Harrist, Park. Radiology 1984;152:497-501"
WEIGHT_CITATION = "Hadlock, Harrist, Sharman, Deter, Park. Am J Obstet Gynecol 1985;151:333-337"

WEEKS = (14.0, 42.0)
"""Ages of the 361 fetuses from which the age formulas were derived."""

GRAMS = (100.0, 6000.0)
"""Weights that we let pass; the range of the 1985 paper is not in our sources."""

AGE_TERMS: dict[str, dict[str, float]] = {
    "B": {"": 9.54, "B": 1.482, "BB": 0.1676},
    "H": {"": 8.96, "H": 0.540, "HHH": 0.0003},
    "A": {"": 8.14, "A": 0.753, "AA": 0.0036},
    "F": {"": 10.35, "F": 2.460, "FF": 0.170},
    "BH": {"": 10.32, "HH": 0.009, "B": 1.3200, "HHH": 0.00012},
    "BA": {"": 9.57, "A": 0.524, "BB": 0.1220},
    "BF": {"": 10.50, "BF": 0.197, "F": 0.9500, "B": 0.7300},
    "HA": {"": 10.31, "HH": 0.012, "A": 0.3850},
    "HF": {"": 11.19, "HF": 0.070, "H": 0.2630},
    "AF": {"": 10.47, "A": 0.442, "FF": 0.3140, "FFF": -0.0121},
    "BHA": {"": 10.58, "HH": 0.005, "A": 0.3635, "BA": 0.02864},
    "BHF": {"": 11.38, "HF": 0.070, "B": 0.9800},
    "BAF": {"": 10.61, "BF": 0.175, "A": 0.2970, "F": 0.7100},
    "HAF": {"": 10.33, "HF": 0.031, "H": 0.3610, "AF": 0.0298},
    "BHAF": {"": 10.85, "HF": 0.060, "B": 0.6700, "A": 0.1680},
}
"""Terms of the age in weeks by the measurements that enter."""

WEIGHT_TERMS: dict[str, dict[str, float]] = {
    "AF": {"": 1.304, "A": 0.05281, "F": 0.1938, "AF": -0.004},
    "BAF": {"": 1.335, "AF": -0.0034, "B": 0.0316, "A": 0.0457, "F": 0.1623},
    "HAF": {"": 1.326, "AF": -0.00326, "H": 0.0107, "A": 0.0438, "F": 0.158},
    "BHAF": {"": 1.3596, "AF": -0.00386, "H": 0.0064, "BA": 0.00061, "A": 0.0424, "F": 0.174},
}
"""Terms of the decimal logarithm of the weight in grams."""

_NAMES = {"B": "bpd", "H": "hc", "A": "ac", "F": "fl"}


def _range_of(letter: str) -> tuple[float, float]:
    """Millimetres of one measurement for which its own age formula gives 14 to 42 weeks."""
    grid = np.linspace(0, 60, 60001)
    return tuple(round(float(10 * v), 1) for v in np.interp(WEEKS, polynomial(AGE_TERMS[letter])(grid), grid))  # type: ignore[return-value]


INPUT_RANGES = MappingProxyType({name: _range_of(letter) for letter, name in _NAMES.items()})
"""Least and greatest millimetres of every measurement: those that alone mean 14 and 42 weeks."""


def _age(letters: str, terms: dict[str, float]) -> Formula:
    inputs = tuple(_NAMES[x] for x in letters)
    return Formula(
        f"hadlock_1984_{letters}", "gestational_age", "weeks", inputs, "cm", written(terms), polynomial(terms), WEEKS,
        tuple(INPUT_RANGES[i] for i in inputs), AGE_CITATION,
    )  # fmt: skip


def _weight(letters: str, terms: dict[str, float]) -> Formula:
    log10, inputs = polynomial(terms), tuple(_NAMES[x] for x in letters)
    return Formula(
        f"hadlock_1985_{letters}", "estimated_weight", "g", inputs, "cm", f"10 ^ ({written(terms)})",
        lambda *values: np.power(10.0, log10(*values)), GRAMS, tuple(INPUT_RANGES[i] for i in inputs), WEIGHT_CITATION,
        "inputs as for 14 to 42 weeks; the range of the paper is not in our sources",
    )  # fmt: skip


AGES = MappingProxyType({letters: _age(letters, terms) for letters, terms in AGE_TERMS.items()})
"""Gestational age in weeks, by the letters of what enters."""

WEIGHTS = MappingProxyType({letters: _weight(letters, terms) for letters, terms in WEIGHT_TERMS.items()})
"""Estimated fetal weight in grams, by the letters of what enters."""
