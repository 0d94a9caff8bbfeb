"""Evaluation of fetal biometry: lengths against the truth, as a prediction would tell them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from scantling.core.batch import MASK
from scantling.data.preprocess import UNKNOWN
from scantling.measure.ellipse import Method
from scantling.measure.frames import Frame, frames_of
from scantling.measure.perimeter import Formula
from scantling.measure.planes import measure_planes
from scantling.measure.truth import TRUTHS, lengths_of, true_lengths
from scantling.metrics.biometry import evaluate_biometry
from scantling.metrics.segmentation import dice
from scantling.run.cases import Case
from scantling.run.evaluate_masks import examples_of
from scantling.run.records import columns_of, patient_codes
from scantling.run.report_content import MaskExample
from scantling.run.views import Augmentation

if TYPE_CHECKING:
    from scantling.run.model import Model
    from scantling.run.prepare import Prepared

_THREADS = 4


def measure_lengths(
    model: Model,
    prepared: Prepared,
    rows: Tensor,
    augmentation: Augmentation,
    batch_size: int,
    by: Sequence[str],
    replicates: int,
    progress: Callable[[int, int], None] | None = None,
    formula: Formula = "exact",
    fit: Method = "auto",
    known_planes: bool = False,
) -> tuple[dict[str, Any], list[MaskExample]]:
    """Figures with intervals, as :func:`scantling.metrics.biometry.evaluate_biometry` gives them, and examples.

    An image is measured as a prediction measures it: on its own grid, as the plane that the network sees, and not at
    all where the plane is uncertain or the outline has not its shape. The truth comes from the manifest's columns, else
    from the true mask at its own size. ``unit`` is ``mm``, or ``px`` where no size of pixels is known; in millimetres
    images without a size have no truth.

    Args:
        model: of biometry.
        prepared: images of the manifest.
        rows: to evaluate, ``(n,)``.
        augmentation: views that are averaged.
        batch_size: images at a time.
        by: columns to tabulate by.
        replicates: of the bootstrap.
        progress: called with images done and images in all.
        formula: of circumferences.
        fit: of ellipses, see :func:`scantling.measure.ellipse.fit_ellipses`.
        known_planes: measure each image as the plane that it truly shows, where that is known.
    """
    target, table = model.target, prepared.manifest.table
    frames = frames_of(prepared.manifest, rows.tolist(), prepared.preprocess)
    true_plane = prepared.labels[rows].numpy()
    truth = true_lengths(prepared.manifest, rows.tolist(), true_plane, target, frames)
    spaced = np.array([frame.spacing is not None for frame in frames], dtype=bool)
    if spaced.any():
        truth = {name: np.where(spaced, values, np.nan) for name, values in truth.items()}
    given = true_plane if known_planes else np.full(len(rows), -1)

    def measure(probabilities: np.ndarray, planes: np.ndarray, i: int) -> dict[str, Any]:
        known = given[i] >= 0
        plane = int(given[i] if known else planes.argmax())
        # A single plane is no choice: its probability of 1 says nothing.
        sure = None if known or target.size == 1 else planes[plane]
        names, spacing = [target.names[plane]], frames[i].spacing
        return measure_planes(probabilities[None], names, spacing, sure, fit=fit, formula=formula)[0]

    found, called, masks = _measured(model, prepared, rows, frames, measure, augmentation, batch_size, progress)
    lengths = {name: (truth[name], np.array([one.get(name, np.nan) for one in found])) for name in lengths_of(target)}
    main = _main(lengths, true_plane, target.names)
    drawn = np.full_like(masks, UNKNOWN)
    if MASK in prepared.images.fields:
        drawn = prepared.images.gather(rows, [MASK])[MASK].numpy()
    overlap = dice(drawn, masks, 2)[:, 0]
    chosen = table.iloc[rows.numpy()]
    content = evaluate_biometry(
        target, lengths, main, overlap, (true_plane, called), patient_codes(chosen), columns_of(chosen), by, replicates
    )
    unit = "mm" if spaced.any() else "px"
    notes = _notes(unit, int((~spaced).sum()) if spaced.any() else 0, formula)
    content = {**content, "unit": unit, "formula": formula, "notes": [*content["notes"], *notes]}
    cases = [Case((i,), None) for i in range(len(rows))]
    return content, examples_of(prepared, rows, masks, drawn, cases, overlap[:, None], target)


def _measured(
    model: Model,
    prepared: Prepared,
    rows: Tensor,
    frames: Sequence[Frame],
    measure: Callable[[np.ndarray, np.ndarray, int], dict[str, Any]],
    augmentation: Augmentation,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[dict[str, Any]], np.ndarray, np.ndarray]:
    """Measurements of every row, its predicted plane ``(n,)``, and masks ``(n, h, w)`` of the prepared images.

    ``measure`` gets the mask's probabilities on the original's grid, those of the planes, and the position in rows.
    """
    found: list[dict[str, Any]] = []
    called, masks = [], []

    def one(probabilities: Tensor, planes: np.ndarray, i: int) -> dict[str, Any]:
        return measure(frames[i].placement.enlarged(probabilities[0]), planes, i)

    with ThreadPoolExecutor(_THREADS) as pool:
        for batch in prepared.loader(rows, batch_size, sampler="sequential"):
            likely = model.segment(batch, augmentation).probabilities.cpu()
            planes = likely[:, 1:].mean((2, 3)).double().numpy()
            found += pool.map(one, likely, planes, range(len(found), len(found) + len(likely)))
            called.append(planes.argmax(1))
            masks.append(model.masks.encode(model.masks.called(likely)).numpy())
            if progress is not None:
                progress(len(found), len(rows))
    return found, np.concatenate(called), np.concatenate(masks)


def _main(
    lengths: dict[str, tuple[np.ndarray, np.ndarray]], planes: np.ndarray, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """True and measured main length of every image's true plane, ``(n,)`` each; NaN without a plane."""
    truth, measured = (np.full(len(planes), np.nan) for _ in range(2))
    for number, name in enumerate(names):
        here = planes == number
        true, found = lengths[TRUTHS[name][0]]
        truth[here], measured[here] = true[here], found[here]
    return truth, measured


def _notes(unit: str, unspaced: int, formula: Formula) -> list[str]:
    told = "millimetres" if unit == "mm" else "pixels of the originals: the manifest and the files tell no size"
    notes = [f"Lengths are in {told}; circumferences by the formula '{formula}'."]
    if unspaced:
        notes.append(f"{unspaced} images whose pixels have no known size are left out of the errors.")
    return notes
