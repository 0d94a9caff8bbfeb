"""Assess the quality of images: a score, a grade, and a report, from a model that learned good images alone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from scantling.assess.quality.agreement import agreement
from scantling.assess.quality.grading import ClusterModel, centre_shift, fit_clusters
from scantling.core.bundle import META, WEIGHTS, find_bundle
from scantling.core.errors import DataError, RecipeError
from scantling.core.files import write_json, writing
from scantling.core.quality import GRADES, OUTSTANDING
from scantling.data.manifest import Manifest
from scantling.run.journal import Journal
from scantling.run.listing import Images, Listed, list_images
from scantling.run.quality_model import QualityModel, load_quality
from scantling.run.reading import Seen, as_batch, read_batches
from scantling.run.report_quality import write_quality_report

TABLE, RECORD, REPORT = "quality.csv", "quality.json", "report.html"
Progress = Callable[[int, int], None]

_SHOWN = 12


@dataclass(frozen=True)
class QualityResult:
    """What :func:`assess_quality` gives back.

    Args:
        path: the table on disk; None when nothing was written.
        rows: images asked for.
        failures: images that could not be read.
        table: one row an image, in the order of the input: ``image``, ``frame`` where a file has several, ``score``
            (greater for worse images), ``quality_index`` (share of held-out good images that score higher, in percent:
            100 is better than all of them), ``outstanding`` (yes or no), ``grade`` (outstanding, gradable, ungradable),
            ``confidence`` (high or low), ``error``.
        record: threshold, groups, guards, composition, drift and, where the manifest has grades, agreement with them.
    """

    path: Path | None
    rows: int
    failures: int
    table: pd.DataFrame
    record: dict[str, Any]

    @property
    def report(self) -> Path | None:
        """The page of the assessment; None when nothing was written."""
        return None if self.path is None else self.path.parent / REPORT

    def summary(self) -> str:
        """A few lines for the terminal."""
        counts = self.record["composition"]
        lines = [", ".join(f"{counts[grade]} {grade}" for grade in reversed(GRADES))]
        lines += [f"note: {guard}" for guard in self.record["guards"]]
        return "\n".join(lines)


def assess_quality(
    bundle: str | Path,
    images: Images,
    out: str | Path | None = None,
    *,
    clusters: str = "batch",
    batch_size: int = 32,
    device: str = "auto",
    split: str | None = None,
    workers: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> QualityResult:
    """Score and grade images, and write a table, a record and a report.

    In ``out`` come ``quality.csv``, ``quality.json`` and ``report.html``. The images that are not outstanding are
    divided into gradable and ungradable ones by clustering *these images*, so that a grade depends on what else is
    assessed with it; for grades that do not, take the groups that the bundle or an earlier assessment keeps. An
    assessment that was stopped goes on where it was when it is asked for again with the same bundle and images. An
    image that cannot be read does not stop the others.

    Args:
        bundle: a bundle or a run folder of a quality scorer.
        images: see :func:`scantling.run.listing.list_images`.
        out: folder of the results; left out, nothing is written, and images that cannot be read raise no error.
        clusters: where the two groups come from: ``batch`` (these images), ``bundle`` (degraded copies of the held-out
            good images), or the ``quality.json`` of an earlier assessment.
        batch_size: images at once, from 1.
        device: ``auto``, ``cpu``, ``cuda`` ...
        split: of a manifest; left out, all rows.
        workers: threads that read images ahead of the network; 0 for one a core.
        seed: of the clustering.
        progress: called with the images done and all images.

    Raises:
        DataError: no image, no groups where they should be, or, after everything was written, images that could not be
            read.
        BundleError: see :func:`scantling.run.model.load`; also a bundle of another kind of model.
        RecipeError: a batch size below 1.
    """
    if batch_size < 1:
        raise RecipeError(f"a batch of {batch_size}", where="batch_size", do="use 1 or more")
    quality = load_quality(bundle, device)
    given = _given(clusters, quality)
    folder = None if out is None else Path(out)
    listed = list_images(images, folder, split)
    journal = Journal(None if folder is None else folder / f".{TABLE}.part", _key(find_bundle(bundle), listed))
    failures: dict[int, str] = {}
    left = [number for number in range(len(listed)) if number not in journal.rows]
    threads = workers or os.cpu_count() or 1
    for seen, failed in read_batches(listed, left, quality.model.preprocess, batch_size, threads):
        failures |= failed
        journal.add(_measured(quality, seen) if seen else {})
        if progress is not None:
            progress(len(journal.rows) + len(failures), len(listed))
    done = sorted(journal.rows)
    scores = torch.tensor([journal.rows[k]["score"] for k in done], dtype=torch.float64)
    features = torch.tensor([journal.rows[k]["features"] for k in done], dtype=torch.float64)
    worse = scores > quality.threshold
    model = given
    if model is None:
        model = fit_clusters(
            scores[worse], features[worse], seed, origin=f"{int(worse.sum())} of {len(done)} images assessed together"
        )
    grades, sure = model.grade(scores, features, quality.threshold)
    index = 100 * (1 - quality.quantiles(scores))
    table = _table(listed, done, scores, index, grades, sure, failures)
    record = _record(quality, model, clusters, table, len(listed), len(failures))
    truth = _truth(images, split, listed)
    if truth is not None:
        known = truth[done] >= 0
        if known.any():
            record["agreement"] = agreement(truth[done][known], scores.numpy()[known], grades.numpy()[known])
    if folder is None:
        return QualityResult(None, len(listed), len(failures), table, record)
    path = folder / TABLE
    with writing(path) as part:
        table.to_csv(part, index=False, lineterminator="\n", float_format="%.6g")
    write_json(folder / RECORD, record)
    shown = _examples(quality, listed, done, scores, grades)
    write_quality_report(folder / REPORT, table, record, shown, quality.good_scores())
    journal.remove()
    if failures:
        what = f"{len(failures)} of {len(listed)} images could not be read"
        raise DataError(what, where=path, do="see its column 'error'")
    return QualityResult(path, len(listed), 0, table, record)


def _given(clusters: str, quality: QualityModel) -> ClusterModel | None:
    """Groups that do not come from the images themselves."""
    if clusters == "batch":
        return None
    if clusters == "bundle":
        if quality.clusters is None:
            raise DataError("the bundle keeps no groups", where=quality.path, do="use batch, or train it again")
        return quality.clusters
    path = Path(clusters)
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"no groups of images ({error})", where=path, do="use batch, bundle, or the quality.json of an assessment"
        ) from error
    if not isinstance(plain, dict) or plain.get("model") != quality.identity:
        raise DataError("made with another model", where=path, do="assess with the model that made it")
    return ClusterModel.from_json(plain.get("clusters") or {}, path)


def _measured(quality: QualityModel, seen: Sequence[Seen]) -> dict[int, dict[str, Any]]:
    scores, features = quality.measure(as_batch(seen, pairs=False))
    return {
        one.number: {"score": score, "features": row}
        for one, score, row in zip(seen, scores.tolist(), features.tolist(), strict=True)
    }


def _table(
    listed: Sequence[Listed],
    done: Sequence[int],
    scores: Tensor,
    index: Tensor,
    grades: Tensor,
    sure: Tensor,
    failures: dict[int, str],
) -> pd.DataFrame:
    rows: dict[int, dict[str, Any]] = {number: {"error": reason} for number, reason in failures.items()}
    values = zip(done, scores.tolist(), index.tolist(), grades.tolist(), sure.tolist(), strict=True)
    for number, score, share, grade, certain in values:
        rows[number] = {
            "score": score, "quality_index": share, "outstanding": "yes" if GRADES[grade] == OUTSTANDING else "no",
            "grade": GRADES[grade], "confidence": "high" if certain else "low",
        }  # fmt: skip
    columns = ["score", "quality_index", "outstanding", "grade", "confidence", "error"]
    table = pd.DataFrame([rows[number] for number in range(len(listed))], columns=columns)
    frames = [one.source.frame for one in listed]
    if any(frame is not None for frame in frames):
        table.insert(0, "frame", pd.Series(frames, dtype="Int64"))
    table.insert(0, "image", [one.name for one in listed])
    return table


def _record(
    quality: QualityModel, model: ClusterModel, clusters: str, table: pd.DataFrame, images: int, failures: int
) -> dict[str, Any]:
    counts = table["grade"].value_counts()
    drift = None if quality.clusters is None else centre_shift(quality.clusters, model)
    return {
        "model": quality.identity,
        "threshold": quality.threshold,
        "direction": quality.record.get("direction"),
        "clusters_from": clusters if clusters in {"batch", "bundle"} else "an earlier assessment",
        "composition": {grade: int(counts.get(grade, 0)) for grade in GRADES} | {"unreadable": failures, "all": images},
        "guards": list(model.guards),
        "silhouette": model.silhouette,
        "drift": drift,
        "clusters": model.to_json(),
    }


def _truth(images: Images, split: str | None, listed: Sequence[Listed]) -> np.ndarray | None:
    """Grades of a manifest that has such, ``(n,)``, -1 where unknown: for the comparison alone."""
    if isinstance(images, (str, Path)) and Path(images).suffix.lower() in {".csv", ".parquet"}:
        images = Manifest.read(images)
    if not isinstance(images, Manifest) or "label" not in images.table:
        return None
    try:
        target = images.target
    except DataError:
        return None
    if target.names != GRADES:
        return None
    labels = target.encode(images.table)
    rows = np.arange(len(labels)) if split is None else images.split(split)
    found: np.ndarray = labels[rows]
    return found if len(found) == len(listed) else None


def _examples(
    quality: QualityModel, listed: Sequence[Listed], done: Sequence[int], scores: Tensor, grades: Tensor
) -> dict[str, list[tuple[str, float, np.ndarray]]]:
    """Images of every grade, evenly spaced by score, best first: name, score and pixels ``(H, W, C)``."""
    out: dict[str, list[tuple[str, float, np.ndarray]]] = {}
    for grade in reversed(range(len(GRADES))):
        rows = (grades == grade).nonzero()[:, 0]
        rows = rows[scores[rows].argsort()]
        chosen = rows[torch.linspace(0, len(rows) - 1, min(_SHOWN, len(rows))).round().long()].tolist()
        numbers = [done[row] for row in chosen]
        by_number = {done[row]: float(scores[row]) for row in chosen}
        out[GRADES[grade]] = [
            (listed[one.number].name, by_number[one.number], one.image.permute(1, 2, 0).numpy())
            for seen, _ in read_batches(listed, numbers, quality.model.preprocess, _SHOWN, 2)
            for one in seen
        ]
    return out


def _key(bundle: Path, listed: Sequence[Listed]) -> str:
    """What the scores depend on."""
    digest = hashlib.sha256(repr(list(listed)).encode())
    for name in (META, WEIGHTS):
        with (bundle / name).open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
