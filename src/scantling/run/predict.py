"""Predict: a trained model over a folder, files or a manifest, to a table and pictures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import Tensor

from scantling.core.anomaly import AnomalyAdapter
from scantling.core.batch import FELLOW_IMAGE, FELLOW_PRESENT, IMAGE
from scantling.core.bundle import META, WEIGHTS, find_bundle
from scantling.core.errors import BundleError, DataError, RecipeError
from scantling.core.files import writing
from scantling.measure.perimeter import Formula
from scantling.run.journal import Journal
from scantling.run.listing import Images, Listed, list_images, with_slices
from scantling.run.mask_files import MaskFormat, write_png
from scantling.run.model import Model, Result, load
from scantling.run.pixel_sizes import origins_of
from scantling.run.predict_biometry import BiometryWriter
from scantling.run.predict_masks import MaskWriter
from scantling.run.quality_gate import COLUMNS as GATE_COLUMNS
from scantling.run.quality_gate import WITHHELD, Level, open_gate
from scantling.run.reading import Seen, as_batch, read_batches
from scantling.run.report_pictures import as_colour
from scantling.run.saliency import explained, overlay
from scantling.run.views import Augmentation, check_augmentation
from scantling.tasks.objectives.anomaly import AnomalyScore

TABLE = "predictions.csv"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Prediction:
    """What :func:`predict` gives back.

    Args:
        path: the table on disk; None when nothing was written.
        rows: images asked for.
        failures: images that could not be read.
        table: one row an image, in the order of the input: ``image``, ``frame`` where a file has several,
            ``prediction``, ``score`` (continuous severity), ``distance_to_threshold`` (of the score, for grades cut by
            thresholds: small means that the grade hung by a thread), ``normal_quantile`` (share of held-out normal
            images with a lower anomaly score), ``p_<name>`` for every grade, class or finding; for masks
            ``uncertainty`` (mean entropy, in [0, 1]), ``share_<name>`` of the image's pixels and ``mask``, the mask's
            file, or ``mask:<structure>`` where structures may overlap; of biometry the plane, ``quality`` (good, check
            or rejected) with its ``reason``, ``hc_mm`` and the like, ``hc_mm_sd`` with an augmentation, and
            ``examination``, a number that stands for the patient; behind a gate ``image_quality``,
            ``image_quality_score`` and ``withheld`` (why an image was not predicted; empty where it was); ``error``.
        examinations: of biometry, the table with a row an examination; None where no image names its patient.
        withheld: images that a gate kept from the model.
        rule: by which they were; None without a gate.
    """

    path: Path | None
    rows: int
    failures: int
    table: pd.DataFrame
    examinations: Path | None = None
    withheld: int = 0
    rule: str | None = None


def predict(
    bundle: str | Path,
    images: Images,
    out: str | Path | None = None,
    *,
    batch_size: int = 32,
    device: str = "auto",
    augmentation: Augmentation = "none",
    saliency: bool = True,
    split: str | None = None,
    workers: int = 0,
    progress: Progress | None = None,
    mask_format: MaskFormat = "auto",
    uncertainty: bool = False,
    pixel_spacing: str | None = None,
    pixels: bool = False,
    formula: Formula = "exact",
    quality_gate: str | Path | None = None,
    quality_gate_level: Level = "ungradable",
) -> Prediction:
    """Predict images, and write a table and pictures.

    In ``out`` come ``predictions.csv``; ``saliency/<image>.png``, where the network looked, laid over what it saw; of
    anomaly detectors ``heat/<image>.png``, the heat map in 255 levels at the size that the network saw; for
    masks ``masks/<image>.png`` at the size of the original (class numbers; of two classes 0 and 255; of structures that
    may overlap ``masks/<image>.<structure>.png``), of a NIfTI volume ``masks/<volume>.nii.gz`` with its affine, and
    ``overlays/<image>.png``. Of fetal biometry the table has lengths and ages, their deviations over the test-time
    augmentation and a quality; ``examinations.csv`` age and weight of each patient of a manifest; the overlays have
    callipers. A prediction that was stopped goes on where it was when it is asked for again with the same bundle,
    images and options. An image that cannot be read does not stop the others.

    Args:
        bundle: a bundle or a run folder.
        images: see :func:`scantling.run.listing.list_images`.
        out: folder of the results; left out, nothing is written, and images that cannot be read raise no error.
        batch_size: images at once, from 1.
        device: ``auto``, ``cpu``, ``cuda`` ...
        augmentation: average over flips, over flips and quarter turns, or, for masks, over flips and scales.
        saliency: write saliency maps, or the overlays of masks.
        split: of a manifest; left out, all rows.
        workers: threads that read images ahead of the network; 0 for one a core.
        progress: called with the images done and all images.
        mask_format: of masks: auto (NIfTI for the volumes that are NIfTI, PNG for all others), png (one an image or
            slice), or dicom (a DICOM segmentation for each DICOM file or series).
        uncertainty: of masks: write ``uncertainty/<image>.png``, the entropy of the probabilities (0 certain, 255
            undecided), and with an augmentation ``deviation/<image>.png``, twice their standard deviation.
        pixel_spacing: of biometry, millimetres between rows and columns (0.2, or 0.2\\0.3) of images whose manifest and
            file do not tell.
        pixels: of biometry, tell lengths in pixels of the originals, without ages.
        formula: of biometry, for circumferences: exact, ramanujan_1, ramanujan_2, or two_diameters (the clinical rule,
            a little smaller).
        quality_gate: a bundle or run folder of a quality scorer (see ``assess quality``): images below the gate are not
            predicted, and their row says why.
        quality_gate_level: what the gate withholds: ungradable (by the groups that the scorer's bundle keeps; where it
            has none, all that are not outstanding) or outstanding (all that are not).

    Raises:
        DataError: no image, or, after everything was written, images that could not be read.
        BundleError: see :func:`scantling.run.model.load`; also a network that reads derived fields.
        RecipeError: an unknown augmentation, or a batch size below 1.
    """
    check_augmentation(augmentation)
    if batch_size < 1:
        raise RecipeError(f"a batch of {batch_size}", where="batch_size", do="use 1 or more")
    model = load(bundle, device)
    strange = sorted(set(model.adapter.wants) - {FELLOW_IMAGE, FELLOW_PRESENT})
    if strange:
        raise BundleError(f"its network reads {', '.join(strange)}", where=bundle, do="use a model that reads images")
    pairs = FELLOW_IMAGE in model.adapter.wants
    folder = None if out is None else Path(out)
    if model.target.dense:
        images = with_slices(images)
    listed = list_images(images, folder, split, pairs)
    biometry = model.target.kind == "biometry"
    origins = origins_of(images, split, listed, pixel_spacing, pixels) if biometry else []
    gate = open_gate(quality_gate, quality_gate_level, device)
    gated = [] if gate is None else [gate.quality.identity, gate.level]
    settings = [augmentation, saliency, mask_format, uncertainty, formula]
    key = _key(find_bundle(bundle), [*settings, *origins, *gated, *listed])
    journal = Journal(None if folder is None else folder / f".{TABLE}.part", key)
    failures: dict[int, dict[str, Any]] = {}
    threads = workers or os.cpu_count() or 1
    masks: MaskWriter | BiometryWriter | None = None
    if biometry:
        unit: Literal["mm", "px"] = "px" if pixels else "mm"
        masks = BiometryWriter(
            model, folder, listed, origins, unit, mask_format, saliency, uncertainty, formula, threads
        )
    elif model.target.dense:
        masks = MaskWriter(model, folder, listed, mask_format, saliency, uncertainty, key, threads)
    job = _Job(model, folder, listed, augmentation, saliency, pairs, threads, masks)
    left = [number for number in range(len(listed)) if number not in journal.rows]
    checked = {} if gate is None else gate.of_images(listed, left, batch_size, threads)
    journal.add({number: row for number, row in checked.items() if row[WITHHELD]})
    left = [number for number in left if number not in journal.rows]
    looks = {name: way for name, way in model.ways().items() if name != IMAGE}
    for seen, failed in read_batches(
        listed, left, model.preprocess, batch_size, threads, placements=model.target.dense, looks=looks
    ):
        failures |= {number: {"error": reason} for number, reason in failed.items()}
        journal.add({n: row | checked.get(n, {}) for n, row in job.rows(seen).items()} if seen else {})
        if progress is not None:
            progress(len(journal.rows) + len(failures), len(listed))
    gate_columns = () if gate is None else GATE_COLUMNS
    table = _table(model, listed, {**journal.rows, **failures}, masks, gate_columns)
    done = {number: row for number, row in journal.rows.items() if not row.get(WITHHELD)}
    held, rule = len(journal.rows) - len(done), None if gate is None else gate.rule
    examinations = None if masks is None else masks.finish(done)
    if folder is None:
        return Prediction(None, len(listed), len(failures), table, None, held, rule)
    path = folder / TABLE
    with writing(path) as part:
        table.to_csv(part, index=False, lineterminator="\n", float_format="%.6g")
    journal.remove()
    if masks is not None:
        masks.clear()
    if failures:
        what = f"{len(failures)} of {len(listed)} images could not be read"
        raise DataError(what, where=path, do="see its column 'error'")
    return Prediction(path, len(listed), len(failures), table, examinations, held, rule)


@dataclass
class _Job:
    """A model at work on a list of images."""

    model: Model
    folder: Path | None
    listed: Sequence[Listed]
    augmentation: Augmentation
    saliency: bool
    pairs: bool
    threads: int
    masks: MaskWriter | BiometryWriter | None = None

    def rows(self, seen: Sequence[Seen]) -> dict[int, dict[str, Any]]:
        """Predict a batch, write its pictures, and give its rows of the table."""
        batch = as_batch(seen, self.pairs)
        if self.masks is not None:
            each = isinstance(self.masks, BiometryWriter)
            rows = self.masks.rows(seen, self.model.segment(batch, self.augmentation, each))
            return {one.number: row for one, row in zip(seen, rows, strict=True)}
        explain = self.folder is not None and self.saliency
        heat = explained(self.model, batch) if explain else None
        if heat is not None and self.augmentation == "none":
            outputs = heat[1]
        else:
            outputs = self.model.outputs(batch, self.augmentation)
        found = self._rows(self.model.decide(outputs))
        if heat is not None:
            self._each(self._draw, seen, heat[0].cpu().numpy())
        return {one.number: row for one, row in zip(seen, found, strict=True)}

    def _each(self, make: Callable[[Seen, Any], Any], seen: Sequence[Seen], values: Any) -> list[Any]:
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(make, seen, values))

    def _rows(self, result: Result) -> list[dict[str, Any]]:
        values = result.probabilities.double().cpu().numpy()
        columns = {f"p_{name}": values[:, k] for k, name in enumerate(self.model.target.names)}
        if result.scores is not None:
            extra = {"score": result.scores.double().cpu().numpy()}
            cuts = getattr(self.model.objective, "thresholds", None)
            if isinstance(cuts, Tensor) and len(cuts):
                distances = (result.scores[:, None] - cuts).abs().amin(1)
                extra["distance_to_threshold"] = distances.double().cpu().numpy()
            if isinstance(self.model.objective, AnomalyScore):
                extra["normal_quantile"] = self.model.objective.normal_quantile(result.scores).double().cpu().numpy()
            columns = extra | columns
        return [
            {"prediction": label, **{name: float(column[row]) for name, column in columns.items()}}
            for row, label in enumerate(result.labels)
        ]

    def _draw(self, seen: Seen, heat: np.ndarray) -> None:
        self._write("saliency", seen, overlay(as_colour(_pixels(seen)), heat))
        if isinstance(self.model.adapter, AnomalyAdapter):
            self._write("heat", seen, np.round(255 * heat).astype(np.uint8))

    def _write(self, kind: str, seen: Seen, pixels: np.ndarray) -> str:
        """Write a PNG and give its path in the folder of the results."""
        assert self.folder is not None
        name = f"{kind}/{self.listed[seen.number].picture}.png"
        write_png(self.folder / name, pixels)
        return name


def _pixels(seen: Seen) -> np.ndarray:
    return seen.image.permute(1, 2, 0).numpy()


def _table(
    model: Model,
    listed: Sequence[Listed],
    rows: dict[int, dict[str, Any]],
    writer: MaskWriter | BiometryWriter | None,
    gate: Sequence[str],
) -> pd.DataFrame:
    """All rows in the order of the input, with the same columns whichever images failed."""
    prefix = "share_" if model.target.dense else "p_"
    wanted = [f"{prefix}{name}" for name in model.target.names]
    known = {name for row in rows.values() for name in row} | set(wanted)
    extra = [name for name in ("score", "distance_to_threshold", "normal_quantile", "uncertainty") if name in known]
    masks = [name for name in ("mask", *(f"mask:{n}" for n in model.target.structures)) if name in known]
    columns = ["prediction", *extra, *wanted, *masks, *gate, "error"]
    if isinstance(writer, BiometryWriter):
        columns = [*writer.columns(known), *gate, "error"]
    table = pd.DataFrame([rows[number] for number in range(len(listed))], columns=columns)
    frames = [one.source.frame for one in listed]
    if any(frame is not None for frame in frames):
        table.insert(0, "frame", pd.Series(frames, dtype="Int64"))
    table.insert(0, "image", [one.name for one in listed])
    return table


def _key(bundle: Path, options: list[Any]) -> str:
    """What the rows of a prediction depend on."""
    digest = hashlib.sha256(repr(options).encode())
    for name in (META, WEIGHTS):
        with (bundle / name).open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
