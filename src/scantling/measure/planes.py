"""Measurements of standard planes: what a sonographer reads off a frame of a head, an abdomen or a femur."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scantling.core.errors import DataError, nearest
from scantling.measure import ellipse, rectangle
from scantling.measure.agreement import overlap
from scantling.measure.clean import chunks
from scantling.measure.ellipse import Ellipses, checked
from scantling.measure.hadlock import AGES
from scantling.measure.outline import isolate
from scantling.measure.perimeter import Formula

PLANES = ("head", "abdomen", "femur")

LENGTHS: dict[str, tuple[str, ...]] = {
    "head": ("hc", "bpd", "ofd"),
    "abdomen": ("ac", "abdomen_long", "abdomen_short"),
    "femur": ("fl",),
}
"""Lengths that are measured in each plane, the most important first."""

LEAST_OVERLAP = {"head": 0.9, "abdomen": 0.9, "femur": 0.7}
"""A structure that overlaps its fitted shape by less (intersection over union) is not measured."""

WIDEST_FEMUR = 0.5
"""A bar that is wider than this share of its length is not measured: a head called femur is 0.7 to 0.9."""

LEAST_PROBABILITY = 0.9
"""A frame whose plane is less certain is not measured: a head called femur would get a length."""

AGE_BY = {"head": "H", "abdomen": "A", "femur": "F"}
"""Hadlock's formula of gestational age for each plane on its own."""

CEPHALIC_RANGE = (74.0, 83.0)
"""Cephalic indices that are common; outside of it, the head's circumference says more than its diameter.

Source: Hadlock, Deter, Carpenter, Park 1981.
"""


def measure_planes(
    probabilities: np.ndarray,
    planes: Sequence[str],
    spacing: ArrayLike | None,
    plane_probability: ArrayLike | None = None,
    *,
    fit: ellipse.Method = "auto",
    femur_fit: rectangle.Method = "min_area",
    formula: Formula = "exact",
    keep_doubtful: bool = False,
    least_overlap: dict[str, float] | None = None,
    least_probability: float = LEAST_PROBABILITY,
) -> list[dict[str, Any]]:
    """Measure outlines of which it is known, or predicted, what they show.

    Args:
        probabilities: of the outlined structure, ``(N, H, W)`` float in [0, 1] or bool, at any size of picture.
        planes: ``head``, ``abdomen`` or ``femur``, one a picture.
        spacing: millimetres between rows and between columns of these arrays, ``(N, 2)`` or ``(2,)``. None: lengths are
            in pixels, and there are no ages.
        plane_probability: how certain the planes are, ``(N,)`` in [0, 1]; None: they are known.
        fit: of ellipses, see :func:`scantling.measure.ellipse.fit_ellipses`.
        femur_fit: of femurs, see :func:`scantling.measure.rectangle.fit_rectangles`.
        formula: of circumferences, see :func:`scantling.measure.perimeter.circumference`.
        keep_doubtful: give lengths although there is a reason against them.
        least_overlap: by plane, in place of :data:`LEAST_OVERLAP`.
        least_probability: in place of :data:`LEAST_PROBABILITY`.

    Returns:
        One mapping a picture: ``plane``, ``unit`` (``mm`` or ``px``), the plane's lengths by the names in
        :data:`LENGTHS`, ``cephalic_index`` of heads, ``gestational_age_weeks`` with ``gestational_age_formula`` where
        the unit is mm, ``fit``, ``circumference_formula``, ``overlap`` of structure and shape, ``plane_probability``
        where given, ``width`` of femurs as a share of their length, and ``reason``: why not to trust
        it, empty where there is none. Lengths without trust are NaN. ``shape`` is what was fitted, in pixels, for
        :func:`callipers` and :func:`outline`.

        ``bpd`` is outer to outer. ``abdomen_long`` and ``abdomen_short`` are the diameters of the ellipse; which of
        them is antero-posterior, a mask does not tell.

    Raises:
        DataError: an unknown plane, another number of planes than of pictures, a spacing that is missing in a row.
    """
    pixels = spacing is None
    values, spacings = checked(probabilities, (1.0, 1.0) if spacing is None else _known(spacing))
    names = [_plane(name) for name in planes]
    if len(names) != len(values):
        raise DataError(f"{len(names)} planes for {len(values)} pictures", do="give one plane a picture")
    certain = None if plane_probability is None else np.broadcast_to(np.asarray(plane_probability), (len(values),))
    least = {**LEAST_OVERLAP, **(least_overlap or {})}
    rows: list[dict[str, Any]] = []
    for part in chunks(values.shape):
        alone, structure = isolate(values[part])
        rows += _measured(alone, structure, names[part], spacings[part], fit, femur_fit, formula)
    for i, row in enumerate(rows):
        if certain is not None:
            row["plane_probability"] = float(certain[i])
        reasons = _reasons(row, least[row["plane"]], least_probability)
        # A doubtful length is worse than none; what is only rare is told and kept.
        if reasons and not keep_doubtful:
            row.update(dict.fromkeys((*LENGTHS[row["plane"]], *({"cephalic_index"} & row.keys())), float("nan")))
        row["unit"] = "px" if pixels else "mm"
        reasons += _rare(row)
        if not pixels:
            reasons += _add_age(row)
        row["reason"] = "; ".join(reasons)
    return rows


def callipers(row: dict[str, Any]) -> dict[str, np.ndarray]:
    """Both ends of every distance of a measured picture, by the name that is written beside it.

    Returns:
        ``{"BPD": (2, 2), "OFD": (2, 2)}`` of heads, ``{"AD1": ..., "AD2": ...}`` of abdomens, ``{"FL": ...}`` of
        femurs, as x, y in pixels, centres of pixels at whole numbers; empty where nothing was found.
    """
    return {name: np.array(ends) for name, ends in row["shape"].get("callipers", {}).items()}


def outline(row: dict[str, Any], count: int = 128) -> np.ndarray | None:
    """Points of the ellipse of a measured head or abdomen, ``(count, 2)`` as x, y in pixels; None without one."""
    shape = row["shape"]
    if "semi_axes" not in shape:
        return None
    one = Ellipses(np.array([shape["centre"]]), np.array([shape["semi_axes"]]), np.array([shape["angle"]]))
    return np.asarray(one.points(count)[0])


def _known(spacing: ArrayLike) -> np.ndarray:
    values = np.asarray(spacing, dtype=np.float64)
    missing = ~np.isfinite(np.atleast_2d(values)).all(1)
    if missing.any():
        raise DataError(
            "no pixel spacing, so no millimetres",
            where=f"picture {int(missing.argmax())}",
            do="give it in the manifest's column 'pixel_spacing', or ask for pixels",
        )
    return values


def _plane(name: str) -> str:
    if name not in PLANES:
        raise DataError(f"unknown plane '{name}'{nearest(str(name), PLANES)}", do=f"use one of {', '.join(PLANES)}")
    return name


def _measured(
    alone: np.ndarray,
    structure: np.ndarray,
    planes: list[str],
    spacing: np.ndarray,
    fit: ellipse.Method,
    femur_fit: rectangle.Method,
    formula: Formula,
) -> list[dict[str, Any]]:
    femur = np.array([name == "femur" for name in planes], dtype=bool)
    rows: list[dict[str, Any]] = [{} for _ in planes]
    for which, measure in ((~femur, _round), (femur, _long)):
        if which.any():
            chosen = np.flatnonzero(which)
            part = (alone[which], structure[which], [planes[i] for i in chosen], spacing[which])
            options = (fit, formula) if measure is _round else (femur_fit,)
            for i, row in zip(chosen, measure(*part, *options), strict=True):  # type: ignore[operator]
                rows[i] = row
    return rows


def _round(
    alone: np.ndarray,
    structure: np.ndarray,
    planes: list[str],
    spacing: np.ndarray,
    fit: ellipse.Method,
    formula: Formula,
) -> list[dict[str, Any]]:
    """Heads and abdomens."""
    found, used = ellipse.fit_single(alone, structure, spacing, fit)
    drawn = found.in_pixels(spacing)
    share = overlap(drawn.masks(structure.shape[1:]), structure)
    around = found.circumference(formula)
    ends = found.ends() / spacing[:, None, None, ::-1]
    rows = []
    for i, plane in enumerate(planes):
        long, short = found.diameters[i].tolist()
        main, first, second = LENGTHS[plane]
        names = ("OFD", "BPD") if plane == "head" else ("AD1", "AD2")
        row = {"plane": plane, main: float(around[i])}
        row |= {"bpd": short, "ofd": long} if plane == "head" else {first: long, second: short}
        if plane == "head":
            row["cephalic_index"] = 100 * short / long
        shape: dict[str, Any] = {}
        if np.isfinite(long):
            shape = {
                "centre": drawn.centre[i].tolist(), "semi_axes": drawn.semi_axes[i].tolist(),
                "angle": float(drawn.angle[i]), "callipers": dict(zip(names, ends[i].tolist(), strict=True)),
            }  # fmt: skip
        row |= {"fit": str(used[i]), "circumference_formula": formula, "overlap": float(share[i]), "shape": shape}
        rows.append(row)
    return rows


def _long(
    alone: np.ndarray, structure: np.ndarray, planes: list[str], spacing: np.ndarray, fit: rectangle.Method
) -> list[dict[str, Any]]:
    """Femurs."""
    found = rectangle.fit_single(alone, structure, spacing, fit)
    share = overlap(found.masks(structure.shape[1:], spacing), structure)
    ends = found.ends() / spacing[:, None, None, ::-1]
    return [
        {
            "plane": plane, "fl": float(found.length[i]), "fit": fit, "overlap": float(share[i]),
            "width": float(found.sides[i, 1] / found.length[i]),
            "shape": {"callipers": {"FL": ends[i, 0].tolist()}} if np.isfinite(found.length[i]) else {},
        }
        for i, plane in enumerate(planes)
    ]  # fmt: skip


def _reasons(row: dict[str, Any], least_overlap: float, least_probability: float) -> list[str]:
    """Why the lengths of a picture are not to be trusted."""
    if not row["shape"]:
        return ["nothing was found"]
    reasons = []
    if row.get("plane_probability", 1.0) < least_probability:
        reasons.append(f"the plane is uncertain ({row['plane_probability']:.2f})")
    if row["overlap"] < least_overlap:
        what = "a bar" if row["plane"] == "femur" else "an ellipse"
        reasons.append(f"the outline is not {what} (overlap {row['overlap']:.2f})")
    if row.get("width", 0.0) > WIDEST_FEMUR:
        reasons.append(f"the outline is too wide for a femur ({row['width']:.2f} of its length)")
    return reasons


def _rare(row: dict[str, Any]) -> list[str]:
    low, high = CEPHALIC_RANGE
    index = row.get("cephalic_index", float("nan"))
    return [] if np.isnan(index) or low <= index <= high else [f"cephalic index {index:.0f} outside {low:g}-{high:g}"]


def _add_age(row: dict[str, Any]) -> list[str]:
    """Put the age into a row; a reason where it lies outside the formula's range."""
    formula = AGES[AGE_BY[row["plane"]]]
    main = LENGTHS[row["plane"]][0]
    found = formula.estimate({main: row[main]})
    row |= {"gestational_age_weeks": float(found.value), "gestational_age_formula": formula.name}
    if np.isnan(found.value) or found.valid:
        return []
    return [f"{main} {row[main]:.1f} mm is outside the range of {formula.name}"]
