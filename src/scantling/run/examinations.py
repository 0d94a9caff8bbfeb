"""One examination: the lengths of all its images together, and the age and weight that follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scantling.measure.examination import combine

LENGTHS = ("hc", "bpd", "ofd", "ac", "fl")
"""Lengths that formulas take."""


def examine(rows: Sequence[Mapping[str, Any]], weeks: float | None = None) -> dict[str, Any]:
    """Mean lengths of an examination in millimetres, each over the images in which it was measured, age and weight.

    Args:
        rows: of the table of a prediction.
        weeks: the gestational age, where it is known from elsewhere.

    Returns:
        ``images``, ``rejected`` (images in which nothing was measured), ``hc_mm`` and so on, None where not measured;
        ``hc_mm_sd``: of one image its deviation over test-time augmentations, of several images their own; then what
        :func:`scantling.measure.examination.combine` gives.
    """
    found: dict[str, Any] = {"images": len(rows), "rejected": sum(row["quality"] == "rejected" for row in rows)}
    lengths, deviations = dict[str, float](), dict[str, float]()
    for name in LENGTHS:
        seen = [row for row in rows if row.get(f"{name}_mm") is not None]
        values = np.array([row[f"{name}_mm"] for row in seen])
        found[f"{name}_mm"] = float(values.mean()) if len(seen) else None
        if not len(seen):
            continue
        lengths[name] = float(values.mean())
        own = seen[0].get(f"{name}_mm_sd")
        deviation = float(values.std(ddof=1)) if len(seen) > 1 else own
        if deviation is not None:
            deviations[name] = found[f"{name}_mm_sd"] = deviation
    return {**found, **combine(lengths, deviations, weeks)}
