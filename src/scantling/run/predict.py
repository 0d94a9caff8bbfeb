"""Predict: a trained model over a folder, files or a manifest, to a table and pictures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from torch import Tensor

from scantling.core.batch import FELLOW_IMAGE, FELLOW_PRESENT, IMAGE
from scantling.core.bundle import META, WEIGHTS, find_bundle
from scantling.core.errors import BundleError, DataError, RecipeError
from scantling.core.files import writing
from scantling.run.journal import Journal
from scantling.run.listing import Images, Listed, list_images
from scantling.run.model import Augmentation, Model, Result, check_augmentation, load
from scantling.run.reading import Seen, as_batch, read_batches
from scantling.run.report_pictures import as_colour, with_mask
from scantling.run.saliency import explained, overlay

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
            thresholds: small means that the grade hung by a thread), ``p_<name>`` for every grade, class or finding;
            for masks ``share_<name>`` of the image's pixels and ``mask``, the mask's file; ``error``.
    """

    path: Path | None
    rows: int
    failures: int
    table: pd.DataFrame


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
) -> Prediction:
    """Predict images, and write a table and pictures.

    In ``out`` come ``predictions.csv``; ``saliency/<image>.png``, where the network looked, laid over what it saw; for
    masks ``masks/<image>.png`` at the size of the original (class numbers; of two classes 0 and 255) and
    ``overlays/<image>.png``. A prediction that was stopped goes on where it was when it is asked for again with the
    same bundle, images and options. An image that cannot be read does not stop the others.

    Args:
        bundle: a bundle or a run folder.
        images: see :func:`scantling.run.listing.list_images`.
        out: folder of the results; left out, nothing is written, and images that cannot be read raise no error.
        batch_size: images at once, from 1.
        device: ``auto``, ``cpu``, ``cuda`` ...
        augmentation: average over flips, or over flips and quarter turns.
        saliency: write saliency maps, or the overlays of masks.
        split: of a manifest; left out, all rows.
        workers: threads that read images ahead of the network; 0 for one a core.
        progress: called with the images done and all images.

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
    listed = list_images(images, folder, split, pairs)
    key = _key(find_bundle(bundle), [augmentation, saliency, *listed])
    journal = Journal(None if folder is None else folder / f".{TABLE}.part", key)
    failures: dict[int, dict[str, Any]] = {}
    threads = workers or os.cpu_count() or 1
    job = _Job(model, folder, listed, augmentation, saliency, pairs, threads)
    left = [number for number in range(len(listed)) if number not in journal.rows]
    looks = {name: way for name, way in model.ways().items() if name != IMAGE}
    for seen, failed in read_batches(
        listed, left, model.preprocess, batch_size, threads, placements=model.target.kind == "mask", looks=looks
    ):
        failures |= {number: {"error": reason} for number, reason in failed.items()}
        journal.add(job.rows(seen) if seen else {})
        if progress is not None:
            progress(len(journal.rows) + len(failures), len(listed))
    table = _table(model, listed, {**journal.rows, **failures})
    if folder is None:
        return Prediction(None, len(listed), len(failures), table)
    path = folder / TABLE
    with writing(path) as part:
        table.to_csv(part, index=False, lineterminator="\n", float_format="%.6g")
    journal.remove()
    if failures:
        what = f"{len(failures)} of {len(listed)} images could not be read"
        raise DataError(what, where=path, do="see its column 'error'")
    return Prediction(path, len(listed), len(failures), table)


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

    def rows(self, seen: Sequence[Seen]) -> dict[int, dict[str, Any]]:
        """Predict a batch, write its pictures, and give its rows of the table."""
        batch = as_batch(seen, self.pairs)
        mask, explain = self.model.target.kind == "mask", self.folder is not None and self.saliency
        heat = explained(self.model, batch) if explain and not mask else None
        if heat is not None and self.augmentation == "none":
            outputs = heat[1]
        else:
            outputs = self.model.outputs(batch, self.augmentation)
        result = self.model.decide(outputs)
        found = self._each(self._mask_row, seen, result.probabilities) if mask else self._rows(result)
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
            columns = extra | columns
        return [
            {"prediction": label, **{name: float(column[row]) for name, column in columns.items()}}
            for row, label in enumerate(result.labels)
        ]

    def _draw(self, seen: Seen, heat: np.ndarray) -> None:
        self._write("saliency", seen, overlay(as_colour(_pixels(seen)), heat))

    def _mask_row(self, seen: Seen, probabilities: Tensor) -> dict[str, Any]:
        assert seen.placement is not None
        names = self.model.target.names
        classes = seen.placement.classes(probabilities)
        shares = np.bincount(classes.ravel(), minlength=len(names)) / classes.size
        row = {
            "prediction": "|".join(n for n, share in list(zip(names, shares, strict=True))[1:] if share > 0),
            **{f"share_{n}": float(share) for n, share in zip(names, shares, strict=True)},
        }
        if self.folder is None:
            return row
        if self.saliency:
            seen_classes = probabilities.argmax(0).cpu().numpy()
            self._write("overlays", seen, with_mask(_pixels(seen), seen_classes))
        return {**row, "mask": self._write("masks", seen, classes * np.uint8(255) if len(names) == 2 else classes)}

    def _write(self, kind: str, seen: Seen, pixels: np.ndarray) -> str:
        """Write a PNG and give its path in the folder of the results."""
        assert self.folder is not None
        name = f"{kind}/{self.listed[seen.number].picture}.png"
        with writing(self.folder / name) as part:
            Image.fromarray(pixels).save(part, "PNG", compress_level=4)
        return name


def _pixels(seen: Seen) -> np.ndarray:
    return seen.image.permute(1, 2, 0).numpy()


def _table(model: Model, listed: Sequence[Listed], rows: dict[int, dict[str, Any]]) -> pd.DataFrame:
    """All rows in the order of the input, with the same columns whichever images failed."""
    prefix = "share_" if model.target.kind == "mask" else "p_"
    wanted = [f"{prefix}{name}" for name in model.target.names]
    known = {name for row in rows.values() for name in row} | set(wanted)
    extra = [name for name in ("score", "distance_to_threshold") if name in known]
    columns = ["prediction", *extra, *wanted, *(["mask"] if "mask" in known else []), "error"]
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
