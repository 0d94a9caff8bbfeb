"""Settings of the fixed policies, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from scantling.augment.plan import OPERATIONS, Operation
from scantling.core.errors import RecipeError, nearest

Interpolation = Literal["bilinear", "nearest"]

LIMITS = {
    "brightness": None,
    "contrast": None,
    "saturation": None,
    "hue": 0.5,
    "rotation": 180.0,
    "translation": 1.0,
    "fill": 1.0,
}
"""Largest value of every strength; None where there is none. The smallest is 0."""


@dataclass(frozen=True)
class Settings:
    """What :class:`scantling.augment.fixed.FixedPolicy` documents, after validation.

    Raises:
        RecipeError: a probability outside [0, 1], a strength out of range, an order that cannot be.
    """

    horizontal_flip: float
    vertical_flip: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    colour_probability: float
    crop_scale: tuple[float, float]
    crop_ratio: tuple[float, float]
    crop_probability: float
    rotation: float
    rotation_probability: float
    translation: float
    translation_probability: float
    grayscale: float
    blur_probability: float
    blur_sigma: tuple[float, float]
    order: tuple[Operation, ...]
    fill: float
    interpolation: Interpolation

    def __post_init__(self) -> None:
        for name in ("crop_scale", "crop_ratio", "blur_sigma"):
            object.__setattr__(self, name, _range(name, getattr(self, name)))
        object.__setattr__(self, "order", tuple(self.order))
        for name, limit in LIMITS.items():
            value = getattr(self, name)
            if not (value >= 0 and (limit is None or value <= limit)):
                allowed = "0 or more" if limit is None else f"from 0 to {limit:g}"
                raise RecipeError(f"{value} is out of range", where=name, do=f"use a number {allowed}")
        for name, value in self.probabilities.items():
            if not 0 <= value <= 1:
                raise RecipeError(f"{value} is not a probability", where=name, do="use a number from 0 to 1")
        if self.interpolation not in get_args(Interpolation):
            raise RecipeError(
                f"unknown interpolation '{self.interpolation}'{nearest(self.interpolation, get_args(Interpolation))}",
                do=f"use {' or '.join(get_args(Interpolation))}",
            )
        self._check_order()

    @property
    def probabilities(self) -> dict[str, float]:
        """With which probability a sample gets an operation; the two flips are drawn apart."""
        return {
            "horizontal": self.horizontal_flip,
            "vertical": self.vertical_flip,
            "colour": self.colour_probability,
            "crop": self.crop_probability,
            "rotate": self.rotation_probability,
            "translate": self.translation_probability,
            "grayscale": self.grayscale,
            "blur": self.blur_probability,
        }

    def _check_order(self) -> None:
        for operation in self.order:
            if operation not in OPERATIONS:
                raise RecipeError(
                    f"unknown operation '{operation}'{nearest(operation, OPERATIONS)}",
                    where="order",
                    do=f"use some of {', '.join(OPERATIONS)}",
                )
        if len(set(self.order)) < len(self.order):
            raise RecipeError("an operation comes twice", where="order", do="name each operation once")
        for operation in ("grayscale", "blur"):
            if self.probabilities[operation] > 0 and operation not in self.order:
                raise RecipeError(
                    f"'{operation}' has a probability but no place in the order",
                    where="order",
                    do="add it to the order",
                )


def _range(name: str, values: tuple[float, float]) -> tuple[float, float]:
    numbers = tuple(values)
    if len(numbers) != 2 or not 0 < numbers[0] <= numbers[1]:
        raise RecipeError(
            f"{list(numbers)} is not a range", where=name, do="give two positive numbers, the smaller first"
        )
    return float(numbers[0]), float(numbers[1])
