"""One examination: the lengths of all its images together, and the age and weight that follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scantling.measure.planes import LENGTHS

_ENTERING = [length for lengths in LENGTHS.values() for length in lengths if not length.startswith("abdomen")]


def examine(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean lengths of an examination in millimetres, each over the images in which it was measured, age and weight.

    Args:
        rows: of the table of a prediction.
    """
    values = {n: [row[f"{n}_mm"] for row in rows if row.get(f"{n}_mm") is not None] for n in _ENTERING}
    lengths = {name: float(np.mean(found)) for name, found in values.items() if found}
    return {"images": len(rows), "rejected": sum(row["quality"] == "rejected" for row in rows)} | {
        f"{name}_mm": lengths.get(name) for name in _ENTERING
    }
