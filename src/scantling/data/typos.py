"""Class names that look like slips of the pen for others."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

_LIKENESS = 0.8
_RARE = 0.1


def likely_typos(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Pairs of a name and the more frequent name that it probably means.

    Names that differ only in case, blanks or punctuation are always a pair; names that are merely similar are one when
    the rarer has at most a tenth of the other's images. Names that differ in a number (``grade 1``, ``grade 2``) are
    different on purpose.

    Args:
        counts: images a class name.

    >>> likely_typos({"mild": 90, "Mild": 40, "milld": 2, "moderate": 50, "grade 1": 1, "grade 2": 80})
    [('Mild', 'mild'), ('milld', 'mild')]
    """
    ordered = sorted(counts, key=lambda name: (-counts[name], name))
    pairs = []
    for position, name in enumerate(ordered):
        meant = next((other for other in ordered[:position] if _alike(name, other, counts)), None)
        if meant is not None:
            pairs.append((name, meant))
    return pairs


def _alike(rarer: str, other: str, counts: Mapping[str, int]) -> bool:
    a, b = _plain(rarer), _plain(other)
    if re.findall(r"\d+", a) != re.findall(r"\d+", b):
        return False
    if a == b:
        return bool(a)
    near = difflib.SequenceMatcher(None, a, b).ratio() >= _LIKENESS
    return near and counts[rarer] <= max(1, _RARE * counts[other])


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())
