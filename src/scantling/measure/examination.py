"""One examination: the lengths of its planes together, and the age and weight that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scantling.core.errors import DataError
from scantling.measure.formula import INPUTS, Formula
from scantling.measure.growth import WEIGHT_DEVIATION, ratios, weight_centile, weight_z_score
from scantling.measure.hadlock import AGES, WEIGHTS
from scantling.measure.intergrowth import AGE, SIZES, WEIGHT

FORMULAS: tuple[Formula, ...] = (*AGES.values(), AGE, *WEIGHTS.values(), WEIGHT)
"""All that :func:`combine` computes where its inputs are there."""

_MEASURED = tuple(name for name in INPUTS if name != "crl")
_DAYS = 7.0


def combine(
    lengths: Mapping[str, float],
    deviations: Mapping[str, float] | None = None,
    weeks: float | None = None,
    weight_deviation: float = WEIGHT_DEVIATION,
) -> dict[str, Any]:
    """Age and weight by every formula that the lengths allow.

    Args:
        lengths: millimetres of ``bpd``, ``ofd``, ``hc``, ``ac``, ``fl``, any of them; NaN counts as missing.
        deviations: standard deviations of some of them, mm, independent of each other.
        weeks: the age, where it is known from elsewhere; then there are z-scores and centiles.
        weight_deviation: see :func:`scantling.measure.growth.weight_z_score`.

    Returns:
        ``gestational_age_weeks`` with ``gestational_age_formula``, and ``estimated_weight_g`` with
        ``estimated_weight_formula``: by Hadlock's formula that takes most of the lengths, and ``..._sd`` where
        deviations are given. Each formula's own value under its name, ``hadlock_1984_BHAF_weeks``,
        ``hadlock_1985_HAF_g``, but not outside the range for which it holds. Ratios (``cephalic_index``, ``fl_ac``,
        ``hc_ac``). With ``weeks``: ``hc_z`` and ``hc_centile`` and so on, by INTERGROWTH-21st, and
        ``estimated_weight_z`` and ``estimated_weight_centile``, by Hadlock 1991. ``reason``: which of the first two, or
        which standard, does not hold there.

    Raises:
        DataError: an unknown or negative length.
    """
    unknown = [name for name in lengths if name not in _MEASURED]
    if unknown:
        raise DataError(f"unknown length '{unknown[0]}'", do=f"give some of {', '.join(_MEASURED)} in mm")
    known = {name: float(value) for name, value in lengths.items() if np.isfinite(value)}
    spreads = {n: float(s) for n, s in (deviations or {}).items() if n in known and np.isfinite(s)}
    out: dict[str, Any] = {}
    reasons: list[str] = []
    for quantity, unit, table in (("gestational_age", "weeks", AGES), ("estimated_weight", "g", WEIGHTS)):
        possible = [formula for formula in table.values() if set(formula.inputs) <= known.keys()]
        if possible:
            best = max(possible, key=lambda formula: len(formula.inputs))
            found = best.estimate(known)
            out[f"{quantity}_{unit}"] = float(found.value)
            if spreads:
                out[f"{quantity}_{unit}_sd"] = propagate(best, known, spreads)
            out[f"{quantity}_formula"] = best.name
            if not found.valid:
                reasons.append(f"outside the range of {best.name}")
    out |= ratios(known)
    for formula in FORMULAS:
        if set(formula.inputs) <= known.keys():
            found = formula.estimate(known)
            if found.valid:
                scale, unit = (1 / _DAYS, "weeks") if formula.unit == "days" else (1.0, formula.unit)
                out[f"{formula.name}_{unit}"] = scale * float(found.value)
    if weeks is not None:
        reasons += _for_age(out, known, weeks, weight_deviation)
    return {**out, "reason": "; ".join(reasons)}


def propagate(formula: Formula, lengths: Mapping[str, float], deviations: Mapping[str, float]) -> float:
    """Standard deviation of a formula's value, in its unit, from independent deviations of its inputs, to first order.

    Args:
        formula: any.
        lengths: millimetres of all its inputs.
        deviations: millimetres, of some of them; the others are taken as exact.
    """
    square = 0.0
    for name in formula.inputs:
        step = 1e-3
        above, below = (formula.estimate({**lengths, name: lengths[name] + s}).value for s in (step, -step))
        square += (float(above - below) / (2 * step) * deviations.get(name, 0.0)) ** 2
    return float(np.sqrt(square))


def per_examination(
    rows: Sequence[Mapping[str, Any]], examinations: Sequence[object], weeks: Mapping[object, float] | None = None
) -> list[dict[str, Any]]:
    """Put measured planes together that belong to one examination.

    Args:
        rows: as :func:`scantling.measure.planes.measure_planes` gives them, in millimetres.
        examinations: what each belongs to; only whether they are equal counts, nothing of them is in the result.
        weeks: known ages by examination.

    Returns:
        For each examination, in the order of its first row: ``images``, ``rows`` (their numbers), ``<length>_mm`` (mean
        over the rows in which it was measured), ``<length>_mm_sd`` (where there are several), and all of
        :func:`combine`.

    Raises:
        DataError: rows in pixels, or another number of examinations than of rows.
    """
    if len(rows) != len(examinations):
        raise DataError(f"{len(examinations)} examinations for {len(rows)} rows", do="give one a row")
    if any(row["unit"] != "mm" for row in rows):
        raise DataError("lengths in pixels have no age", do="measure with a pixel spacing")
    members: dict[object, list[int]] = {}
    for number, examination in enumerate(examinations):
        members.setdefault(examination, []).append(number)
    out = []
    for examination, numbers in members.items():
        values = {n: np.array([rows[i].get(n, np.nan) for i in numbers], dtype=float) for n in _MEASURED}
        values = {name: v[np.isfinite(v)] for name, v in values.items()}
        lengths = {name: float(v.mean()) for name, v in values.items() if len(v)}
        deviations = {name: float(v.std(ddof=1)) for name, v in values.items() if len(v) > 1}
        out.append({
            "images": len(numbers), "rows": numbers, **{f"{n}_mm": v for n, v in lengths.items()},
            **{f"{n}_mm_sd": v for n, v in deviations.items()},
            **combine(lengths, deviations, (weeks or {}).get(examination)),
        })  # fmt: skip
    return out


def spread(views: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Standard deviation of every length, ratio and age over views of one picture.

    Args:
        views: the same picture seen in several ways (mirrored, turned, by several networks), each as
            :func:`scantling.measure.planes.measure_planes` gives it, with ``keep_doubtful``.

    Returns:
        By the names of the numbers that are known in at least two views.
    """
    names = (*_MEASURED, "abdomen_long", "abdomen_short", "cephalic_index", "gestational_age_weeks")
    values = {name: np.array([view.get(name, np.nan) for view in views], dtype=float) for name in names}
    values = {name: v[np.isfinite(v)] for name, v in values.items()}
    return {name: float(v.std(ddof=1)) for name, v in values.items() if len(v) > 1}


def _for_age(out: dict[str, Any], lengths: Mapping[str, float], weeks: float, weight_deviation: float) -> list[str]:
    """Put z-scores and centiles into a result; reasons where the age lies outside the standards."""
    reasons = []
    for name, value in lengths.items():
        z, centile = SIZES[name].z_score(value, weeks), SIZES[name].centile(value, weeks)
        if z.valid:
            out |= {f"{name}_z": float(z.value), f"{name}_centile": float(centile.value)}
    if not SIZES["hc"].valid[0] <= weeks <= SIZES["hc"].valid[1]:
        reasons.append(f"{weeks:.1f} weeks is outside the range of intergrowth_2014")
    if "estimated_weight_g" in out:
        options = (out["estimated_weight_g"], weeks, weight_deviation)
        z, centile = weight_z_score(*options), weight_centile(*options)
        if z.valid:
            out |= {"estimated_weight_z": float(z.value), "estimated_weight_centile": float(centile.value)}
        else:
            reasons.append(f"{weeks:.1f} weeks is outside the range of hadlock_1991")
    return reasons
