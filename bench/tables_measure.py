"""The tables of measuring, from bench/results/measure_speed.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], list[str]]


def measure_speed_lines(content: Mapping[str, Any], table: Table) -> Iterator[str]:
    """Masks a second, and errors of fits to true outlines."""
    rows = []
    for name, rate in content["masks_a_second"].items():
        rows.append([name, f"{rate['median']:,.0f}", f"{min(rate['all']):,.0f} to {max(rate['all']):,.0f}"])
    yield from table([f"{content['masks']} masks", "a second", "over repeats"], rows)
    height, width = content["shape"]
    yield (
        f"{width} x {height} px, from the mask to the row with lengths, age and reasons; processor time on one core of "
        f"{content['machine']['processor']}."
    )
    yield ""
    if "errors_mm" in content:
        errors = [
            [name, *(f"{e[k]:.3f}" for k in ("mean_absolute", "median_absolute", "bias", "worst")), str(e["missing"])]
            for name, e in content["errors_mm"].items()
        ]
        yield from table(["fitted to", "mean absolute error", "median", "bias", "worst", "missing"], errors)
        yield "Head circumference in mm against the published one; `python bench/measure_speed.py`."
        yield ""
