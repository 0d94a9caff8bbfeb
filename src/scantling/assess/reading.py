"""What a pair of scores says, in words."""

from __future__ import annotations

import math

NEAR = 0.8
"""A score from here on counts as about 1."""
FEWEST_IMAGES = 100
"""Images a class below which a score near 1 is not worth much."""

_KNOWN = {
    ("about 1", 0, "about 1", 0): "matches the real diversity, or is memorised: look at the nearest real images",
    ("low", 1, "about 1", 0): "mode collapse: images inside a class resemble one another too much",
    ("low", -1, "about 1", 0): "images of a class scatter too much: wrong prompts, noise or label errors",
    ("about 1", 0, "low", 1): "classes look alike: the condition is ignored",
    ("low", 1, "low", 1): "global collapse: one style for everything",
    ("low", -1, "low", -1): "images off the manifold of real ones: check fidelity first",
}


def read_pair(intra: float, intra_sign: int, inter: float, inter_sign: int) -> str:
    """The reading of a pair of scores.

    Args:
        intra: ``gamma_intra`` in [0, 1], or NaN.
        intra_sign: of the mean similarity of synthetic pairs less that of real ones; positive means collapse.
        inter: ``gamma_inter``, or NaN.
        inter_sign: likewise.

    >>> read_pair(0.1, 1, 0.97, -1)
    'mode collapse: images inside a class resemble one another too much'
    >>> read_pair(0.9, 1, 0.3, -1)
    'inside classes as diverse as real; images of different classes are further apart than real ones'
    """
    found = _KNOWN.get((*_level(intra, intra_sign), *_level(inter, inter_sign)))
    if found is not None:
        return found
    return f"{_inside(intra, intra_sign)}; {_between(inter, inter_sign)}"


def _level(gamma: float, sign: int) -> tuple[str, int]:
    if math.isnan(gamma):
        return "unknown", 0
    return ("about 1", 0) if gamma >= NEAR else ("low", sign)


def _inside(gamma: float, sign: int) -> str:
    return {
        "unknown": "inside classes nothing can be said",
        "about 1": "inside classes as diverse as real",
    }.get(_level(gamma, sign)[0]) or (
        "images of a class resemble one another too much" if sign > 0 else
        "images of a class scatter too much" if sign < 0 else
        "inside classes similarities spread differently"
    )  # fmt: skip


def _between(gamma: float, sign: int) -> str:
    return {
        "unknown": "between classes nothing can be said",
        "about 1": "between classes as diverse as real",
    }.get(_level(gamma, sign)[0]) or (
        "images of different classes are closer than real ones" if sign > 0 else
        "images of different classes are further apart than real ones" if sign < 0 else
        "between classes similarities spread differently"
    )  # fmt: skip
