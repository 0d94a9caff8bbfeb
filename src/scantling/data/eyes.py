"""Patient and side from the name of a fundus photograph."""

from __future__ import annotations

import re

_EYE = re.compile(r"^(?P<patient>.*\d)(?:[_\- ]?(?P<letter>[LR])|[_\- ]?(?P<word>left|right|os|od|Left|Right|OS|OD))$")
_SIDES = {"l": "left", "left": "left", "os": "left", "r": "right", "right": "right", "od": "right"}


def eye_of(stem: str) -> tuple[str, str | None]:
    """Patient and laterality from a file name without its suffix; a name without a side is its own patient.

    >>> eye_of("10_left"), eye_of("Image_01R"), eye_of("01_dr")
    (('10', 'left'), ('Image_01', 'right'), ('01_dr', None))
    """
    match = _EYE.match(stem)
    if match is None:
        return stem, None
    return match["patient"], _SIDES[(match["letter"] or match["word"]).lower()]
