"""Every figure of predicted masks, case by case, ready for :func:`scantling.metrics.evaluation.evaluate_masks`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scantling.core.target import Target
from scantling.metrics import segmentation
from scantling.metrics.centreline import cl_dice
from scantling.metrics.pixel_ranking import pixel_auroc
from scantling.metrics.segmentation import by_structure
from scantling.run.cases import Case

Figure = Callable[..., np.ndarray]


def mask_figures(
    target: Target,
    cases: Sequence[Case],
    truth: np.ndarray,
    predicted: np.ndarray,
    counts: np.ndarray,
    drawn: np.ndarray | None = None,
    tolerance: float = 2.0,
) -> dict[str, np.ndarray]:
    """Figures ``{name: (cases, S)}``, NaN where undefined.

    Args:
        target: of masks.
        cases: images and volumes.
        truth: ``(n, H, W)`` classes, or sums of bits of structures that may overlap; 255 is unknown.
        predicted: the same of the prediction.
        counts: of pixels by probability, ``(n, S, 2, BINS)``, see :mod:`scantling.metrics.pixel_ranking`.
        drawn: which structures were drawn in an image ``(n, S)`` bool; None for all of them.
        tolerance: of the surface Dice, in the unit of :func:`unit_of`.
    """
    millimetres = unit_of(cases) == "mm"
    overlapping = target.kind == "masks"
    rows: list[dict[str, np.ndarray]] = []
    for case in cases:
        positions = list(case.positions)
        true, called = truth[positions], predicted[positions]
        pair = (true[None], called[None]) if case.volume else (true, called)
        spacing = case.spacing if millimetres and case.spacing is not None else 1.0
        options: dict[str, dict[str, Any]] = {
            "hd95": {"spacing": spacing}, "surface_dice": {"spacing": spacing, "tolerance": tolerance},
        }  # fmt: skip
        found = {}
        for name, figure in _FIGURES.items():
            if overlapping:
                found[name] = by_structure(figure, *pair, target.size, **options.get(name, {}))[0]
            else:
                found[name] = figure(*pair, target.size, **options.get(name, {}))[0]
        found["auroc"] = pixel_auroc(counts[positions].sum(0))
        if drawn is not None:
            missing = ~drawn[positions].all(0)
            found = {name: np.where(missing, np.nan, values) for name, values in found.items()}
        rows.append(found)
    return {name: np.stack([row[name] for row in rows]) for name in (rows[0] if rows else ())}


def unit_of(cases: Sequence[Case]) -> str:
    """``mm`` where the pixel size of all cases is known, else ``px``: pixels of the prepared image."""
    return "mm" if cases and all(case.spacing is not None for case in cases) else "px"


_FIGURES: dict[str, Figure] = {
    "dice": segmentation.dice,
    "iou": segmentation.iou,
    "hd95": segmentation.hd95,
    "surface_dice": segmentation.surface_dice,
    "cl_dice": cl_dice,
    "sensitivity": segmentation.sensitivity,
    "specificity": segmentation.specificity,
}
