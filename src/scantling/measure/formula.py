"""Published formulas as data: what they take, what they give, where they hold, who found them.

Measurements go in as millimetres, always; a formula that was published in centimetres is converted inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from scantling.core.errors import DataError

Unit = Literal["mm", "cm"]

INPUTS = {
    "bpd": "biparietal diameter",
    "ofd": "occipito-frontal diameter",
    "hc": "head circumference",
    "ac": "abdominal circumference",
    "fl": "femur length",
    "crl": "crown-rump length",
}
"""Measurements by the names that formulas use."""


@dataclass(frozen=True)
class Estimate:
    """What a formula gives.

    Args:
        value: ``(...)``, in the formula's unit; NaN where an input is NaN.
        valid: whether inputs and value lie where the formula holds, ``(...)`` bool.
    """

    value: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True)
class Formula:
    """One published formula.

    Args:
        name: by which it is called and recorded.
        quantity: ``gestational_age`` or ``estimated_weight``.
        unit: of what it gives: ``weeks``, ``days`` or ``g``.
        inputs: names of measurements, some of :data:`INPUTS`.
        input_unit: the unit that it was published in.
        equation: as text, with inputs by their first letters.
        compute: from the inputs, in ``input_unit`` and in order, to the value.
        valid: least and greatest value for which it holds; outside, an estimate is not valid.
        input_valid: least and greatest of every input in millimetres, in the order of ``inputs``.
        citation: of the paper.
        remark: on the range, or on what is not certain.
    """

    name: str
    quantity: Literal["gestational_age", "estimated_weight"]
    unit: Literal["weeks", "days", "g"]
    inputs: tuple[str, ...]
    input_unit: Unit
    equation: str
    compute: Callable[..., np.ndarray]
    valid: tuple[float, float]
    input_valid: tuple[tuple[float, float], ...]
    citation: str
    remark: str = ""

    def estimate(self, millimetres: Mapping[str, ArrayLike]) -> Estimate:
        """The value for measurements in millimetres; what the formula does not take is left aside.

        Raises:
            DataError: an input is missing or negative.

        >>> from scantling.measure.hadlock import AGES
        >>> AGES["HA"].estimate({"hc": 185.0, "ac": 160.0}).value.round(2)
        np.float64(20.58)
        """
        missing = [name for name in self.inputs if name not in millimetres]
        if missing:
            raise DataError(f"no {INPUTS[missing[0]]}", where=self.name, do=f"give {', '.join(self.inputs)} in mm")
        given = [np.asarray(millimetres[name], dtype=np.float64) for name in self.inputs]
        for name, values in zip(self.inputs, given, strict=True):
            if (values < 0).any():
                raise DataError(f"a negative {INPUTS[name]}", where=self.name, do="give millimetres")
        scale = 0.1 if self.input_unit == "cm" else 1.0
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            value = np.asarray(self.compute(*(scale * values for values in given)))
            valid = (value >= self.valid[0]) & (value <= self.valid[1])
        for values, (low, high) in zip(given, self.input_valid, strict=True):
            valid &= (values >= low) & (values <= high)
        return Estimate(value[()], np.asarray(valid)[()])


def polynomial(terms: Mapping[str, float]) -> Callable[..., np.ndarray]:
    """A polynomial from its terms: ``{"": 10.5, "BF": 0.197, "B": 0.73}`` is ``10.5 + 0.197 B F + 0.73 B``.

    Letters stand for the arguments, in the order of the string ``BHAF``, of which it takes those that occur.
    """
    letters = letters_of(terms)

    def compute(*values: np.ndarray) -> np.ndarray:
        by_letter = dict(zip(letters, values, strict=True))
        total = np.zeros(np.broadcast_shapes(*(np.shape(v) for v in values)))
        for powers, factor in terms.items():
            product = np.full_like(total, factor)
            for letter in powers:
                product = product * by_letter[letter]
            total = total + product
        return total

    return compute


def letters_of(terms: Mapping[str, float]) -> str:
    """The letters that occur, in the order ``BHAF``."""
    return "".join(letter for letter in "BHAF" if any(letter in powers for powers in terms))


def written(terms: Mapping[str, float]) -> str:
    """The polynomial as text.

    >>> written({"": 9.54, "B": 1.482, "BB": 0.1676, "AF": -0.004})
    '9.54 + 1.482 B + 0.1676 B^2 - 0.004 A F'
    """
    parts: list[str] = []
    for powers, factor in terms.items():
        names = [f"{p}^{powers.count(p)}" if powers.count(p) > 1 else p for p in dict.fromkeys(powers)]
        sign = "- " if factor < 0 else "+ " if parts else ""
        parts.append(" ".join([f"{sign}{abs(factor):.10g}", *names]))
    return " ".join(parts)
