"""Evaluation of predicted masks: case by case, in millimetres where pixel sizes are known, with the best and worst."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from scantling.core.batch import IMAGE, MASK
from scantling.metrics.evaluation import evaluate_masks
from scantling.metrics.pixel_ranking import BINS, score_counts
from scantling.metrics.weights import mean_of_defined
from scantling.run.cases import Case, cases_of
from scantling.run.mask_figures import mask_figures, unit_of
from scantling.run.records import columns_of, patient_codes
from scantling.run.report_content import MaskExample
from scantling.run.report_pictures import stacked
from scantling.run.views import Augmentation
from scantling.tasks.segment import known_pixels

if TYPE_CHECKING:
    from scantling.run.model import Model
    from scantling.run.prepare import Prepared

EXAMPLES = 6


@dataclass(frozen=True)
class Drawn:
    """Predicted masks of some rows of a manifest.

    Args:
        masks: ``(n, H, W)`` uint8, coded as the batch field ``mask``.
        counts: of pixels by probability, ``(n, S, 2, BINS)``.
    """

    masks: np.ndarray
    counts: np.ndarray


def draw(
    model: Model,
    prepared: Prepared,
    rows: Tensor,
    augmentation: Augmentation,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
) -> Drawn:
    """Predict the masks of ``rows (n,)`` of the manifest, at the size of the prepared images."""
    masks, counts, done = [], [], 0
    for batch in prepared.loader(rows, batch_size, sampler="sequential"):
        found = model.segment(batch, augmentation).probabilities
        batch = batch.to(model.device)
        likely, known = model.masks.likely(found), known_pixels(batch, model.target)
        masks.append(model.masks.encode(model.masks.called(found)).cpu().numpy())
        counts.append(score_counts(likely, model.masks.drawn(batch[MASK]), known).to(torch.int32).numpy())
        done += len(batch)
        if progress is not None:
            progress(done, len(rows))
    structures = len(model.target.structures)
    if not masks:
        return Drawn(np.empty((0, 0, 0), np.uint8), np.empty((0, structures, 2, BINS), np.int32))
    return Drawn(np.concatenate(masks), np.concatenate(counts))


def measure(
    model: Model,
    prepared: Prepared,
    rows: Tensor,
    drawn: Drawn,
    by: Sequence[str],
    replicates: int,
    tolerance: float,
) -> tuple[dict[str, Any], list[MaskExample]]:
    """Figures with intervals, as :func:`scantling.metrics.evaluation.evaluate_masks` gives them, and examples.

    A case is an image, or a volume put together from its slices. The content names the ``unit`` of distances (``mm`` or
    ``px``, pixels of the prepared image), the ``tolerance`` of the surface Dice and the numbers of ``images`` and
    ``volumes``.
    """
    target = model.target
    cases = cases_of(prepared.manifest, rows.tolist(), prepared.preprocess)
    truth = prepared.images.gather(rows, [MASK])[MASK].numpy()
    known = prepared.labels[rows].isfinite().numpy() if target.kind == "masks" else None
    figures = mask_figures(target, cases, truth, drawn.masks, drawn.counts, known, tolerance)
    first = [case.positions[0] for case in cases]
    table = prepared.manifest.table.iloc[rows.numpy()[first]]
    content = evaluate_masks(target, figures, patient_codes(table), columns_of(table), by, replicates)
    volumes, unit = sum(case.volume for case in cases), unit_of(cases)
    told = {"unit": unit, "tolerance": tolerance, "images": len(cases) - volumes, "volumes": volumes}
    content = {**content, **told, "notes": [*content["notes"], *_notes(prepared, told)]}
    return content, examples_of(prepared, rows, drawn.masks, truth, cases, figures["dice"], target)


def _notes(prepared: Prepared, told: dict[str, Any]) -> list[str]:
    size = f"{prepared.preprocess.height} x {prepared.preprocess.width}"
    unit = "millimetres" if told["unit"] == "mm" else f"pixels of the prepared images ({size})"
    notes = [f"Distances are in {unit}; surface Dice allows {told['tolerance']:g} {told['unit']}."]
    if told["volumes"]:
        notes.append(f"The slices of each of {told['volumes']} volumes are measured together.")
    return notes


def examples_of(
    prepared: Prepared,
    rows: Tensor,
    masks: np.ndarray,
    truth: np.ndarray,
    cases: Sequence[Case],
    dice: np.ndarray,
    target: Any,
) -> list[MaskExample]:
    """Pictures from the worst to the best Dice, evenly spaced; of a volume the slice with the largest true mask."""
    means = mean_of_defined(dice)
    order = np.argsort(np.where(np.isnan(means), np.inf, means))
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(EXAMPLES, len(order))).round().astype(int))]
    shown = []
    for case in (cases[i] for i in chosen):
        areas = [((truth[p] > 0) & (truth[p] != 255)).sum() for p in case.positions]
        shown.append(case.positions[int(np.argmax(areas))])
    pictures = prepared.images.gather(rows[shown], [IMAGE])[IMAGE].permute(0, 2, 3, 1).numpy()

    def seen(mask: np.ndarray) -> np.ndarray:
        return stacked(mask, target.size) if target.kind == "masks" else mask

    return [
        MaskExample(picture, seen(truth[p]), seen(masks[p]), float(means[i]), _name(prepared, int(rows[p])))
        for i, p, picture in zip(chosen.tolist(), shown, pictures, strict=True)
    ]


def _name(prepared: Prepared, row: int) -> str:
    frame = prepared.manifest.frame(row)
    return f"image {row + 1} of the manifest" + ("" if frame is None else f", slice {frame}")
