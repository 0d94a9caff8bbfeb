"""The verb ``evaluate``: how good a trained model is on labelled images, as JSON and as a page."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scantling.core.batch import IMAGE
from scantling.core.bundle import find_bundle
from scantling.core.errors import DataError
from scantling.core.files import write_json
from scantling.data.anomaly import is_anomaly
from scantling.data.manifest import SPLITS, Manifest
from scantling.data.settings import DataSettings
from scantling.metrics.evaluation import evaluate_predictions
from scantling.run.anomalies import areas_by_grade, grades_text
from scantling.run.bundle import now, versions
from scantling.run.evaluate_biometry import measure_lengths
from scantling.run.evaluate_masks import draw, measure
from scantling.run.looks import add_looks
from scantling.run.model import Model, load, pick_device
from scantling.run.prepare import Prepared, prepare, read_manifest
from scantling.run.records import predictions_of
from scantling.run.report import write_report
from scantling.run.report_content import MaskExample, Mistake, ReportContent
from scantling.run.report_text import render_text
from scantling.run.views import Augmentation

Progress = Callable[[int, int], None]
THUMBNAILS_A_CLASS, MISTAKES = 6, 9


@dataclass
class Evaluation:
    """What an evaluation leaves.

    Args:
        content: every figure with its interval, as in ``json``.
        json: the file of figures.
        report: the page.
        split: that was evaluated.
        notices: what the user should know.
    """

    content: dict[str, Any]
    json: Path
    report: Path
    split: str
    notices: list[str]

    def summary(self) -> str:
        """A few lines for the terminal."""
        lines = [f"note: {n}" for n in self.notices]
        lines += [grades_text(self.content["by_grade"])] if "by_grade" in self.content else []
        return "\n".join(
            [*lines, render_text(self.content, self.split), f"figures: {self.json}", f"report: {self.report}"]
        )


def evaluate(
    path: str | Path,
    data: str | Path | None = None,
    split: str = "test",
    out: str | Path | None = None,
    by: Sequence[str] = ("site",),
    augmentation: Augmentation = "none",
    replicates: int = 2000,
    device: str = "auto",
    batch_size: int = 32,
    progress: Progress | None = None,
    groups: str = "100,20",
    tolerance: float = 2.0,
) -> Evaluation:
    """Evaluate a run or a bundle on a manifest.

    Args:
        path: run folder or bundle.
        data: manifest; left out, the one that the run was trained with.
        split: train, val, test, or all.
        out: folder for ``evaluation_<split>.json`` and ``report.html``; left out, the run folder.
        by: columns of the manifest to tabulate by.
        augmentation: average over flips, over flips and quarter turns, or, for masks, over flips and scales.
        replicates: of the bootstrap.
        device: auto, cpu, cuda ...
        batch_size: images at a time.
        progress: called with images done and images in all.
        groups: which classes are the head and the tail, by their training images: two counts such as 100,20 (more than
            the first, fewer than the second), or tertiles.
        tolerance: of the surface Dice of masks: millimetres where the size of all pixels is known, else pixels.

    Raises:
        BundleError: no model there.
        DataError: no such split, no labels, or images that cannot be read.
    """
    started = time.perf_counter()
    bundle = find_bundle(path)
    home = Path(path) if Path(path) != bundle else bundle.parent
    recipe = _recipe(home)
    model = load(bundle, pick_device(device))
    manifest = read_manifest(data if data is not None else recipe.get("manifest"))
    prepared, notices = open_for(model, manifest, recipe.get("cache"), pixels=augmentation != "none")
    rows = _rows(prepared, split, notices)
    outputs, examples = torch.empty(0), list[MaskExample]()
    if model.target.kind == "biometry":
        content, examples = measure_lengths(model, prepared, rows, augmentation, batch_size, by, replicates, progress)
    elif model.target.dense:
        drawn = draw(model, prepared, rows, augmentation, batch_size, progress)
        content, examples = measure(model, prepared, rows, drawn, by, replicates, tolerance)
    else:
        outputs = _run(model, prepared, rows, augmentation, batch_size, progress)
        model.objective.to("cpu")
        predictions = predictions_of(model.objective, model.target, prepared, rows, outputs)
        _require_labels(predictions.labelled, manifest, split)
        content = evaluate_predictions(
            predictions, by=by, replicates=replicates, training_counts=_training_counts(model), groups=groups
        )
        graded = areas_by_grade(predictions, replicates) if is_anomaly(model.target) else None
        content = content if graded is None else {**content, "by_grade": graded}
        model.to(pick_device(device))
    folder = Path(out) if out is not None else home
    content = {**content, "split": split, "created": now(), "augmentation": augmentation}
    write_json(folder / f"evaluation_{split}.json", content)
    seconds = {"evaluation": time.perf_counter() - started, **_timing(bundle.parent)}
    report = _report(model, prepared, rows, outputs, examples, content, split, bundle, home, seconds)
    return Evaluation(
        content, folder / f"evaluation_{split}.json", write_report(folder / "report.html", report), split, notices
    )


def open_for(model: Model, manifest: Manifest, cache: str | None, pixels: bool = False) -> tuple[Prepared, list[str]]:
    """Images and labels of a manifest as a model wants them; with ``pixels`` nothing derived stands in for them."""
    pre = model.preprocess
    settings = DataSettings(
        image_size=(pre.height, pre.width), crop=pre.crop, fit=pre.fit, channels=pre.channels, cache=cache
    )
    prepared = prepare(settings, manifest, model.adapter.wants, target=model.target, split=False)
    add_looks(prepared, model.looks, settings, model.device, pixels)
    return prepared, list(prepared.notices)


def _rows(prepared: Prepared, split: str, notices: list[str]) -> Tensor:
    if split == "all":
        return torch.arange(len(prepared.manifest))
    if split not in SPLITS:
        raise DataError(f"no split '{split}'", do=f"use {', '.join(SPLITS)} or all")
    if not prepared.manifest.has_splits:
        notices.append("the manifest has no splits: all images are evaluated, the training images may be among them")
        return torch.arange(len(prepared.manifest))
    return prepared.rows(split)


def _training_counts(model: Model) -> list[int] | None:
    """Training images per class, as the bundle tells them; None where it does not."""
    data = model.meta.get("provenance", {}).get("data", {})
    counts = (data.get("classes") or {}).get("train") or {}
    return [int(counts[name]) for name in model.target.names] if counts.keys() >= set(model.target.names) else None


def _require_labels(labelled: np.ndarray, manifest: Manifest, split: str) -> None:
    if not labelled.any():
        raise DataError(f"no image of the split '{split}' has a label", where=manifest.source, do="add labels")


def _run(
    model: Model,
    prepared: Prepared,
    rows: Tensor,
    augmentation: Augmentation,
    batch_size: int,
    progress: Progress | None,
) -> Tensor:
    """Raw outputs ``(n, K)``."""
    outputs, done = [], 0
    for batch in prepared.loader(rows, batch_size, sampler="sequential"):
        outputs.append(model.outputs(batch, augmentation).float().cpu())
        done += len(batch)
        if progress is not None:
            progress(done, len(rows))
    return torch.cat(outputs) if outputs else torch.empty(0)


def _report(
    model: Model,
    prepared: Prepared,
    rows: Tensor,
    outputs: Tensor,
    masks: list[MaskExample],
    content: dict[str, Any],
    split: str,
    bundle: Path,
    home: Path,
    seconds: dict[str, float],
) -> ReportContent:
    provenance = model.meta.get("provenance", {})
    classes = provenance.get("data", {}).get("classes") or None
    is_mask = model.target.dense
    recipe_file = home / "recipe.yaml"
    return ReportContent(
        recipe=str(provenance.get("recipe", bundle.name)),
        summary=str(model.meta.get("summary", "")),
        evaluation=content,
        split=split,
        class_counts=classes,
        thumbnails=[] if is_mask else _thumbnails(model, prepared, rows),
        curves=_curves(bundle.parent / "log" / "metrics.csv"),
        policy=_policy(bundle),
        mistakes=[] if is_mask or model.target.kind == "findings" else _mistakes(model, prepared, rows, outputs),
        masks=masks,
        meter=model.meta.get("meter"),
        timing=seconds,
        versions=versions(),
        recipe_yaml=recipe_file.read_text(encoding="utf-8") if recipe_file.is_file() else None,
        created=content["created"],
    )


def _policy(bundle: Path) -> dict[str, Sequence[Any]] | None:
    """How the search of a bundle's policy went, where there was one."""
    from scantling.augment.policy.spec import FILE, PolicySpec

    spec = PolicySpec.read(bundle / FILE) if (bundle / FILE).is_file() else None
    if spec is None or not spec.probabilities or not spec.probabilities.get("operations"):
        return None
    return {**spec.probabilities, "names": spec.operations}


def _thumbnails(model: Model, prepared: Prepared, rows: Tensor) -> list[tuple[np.ndarray, str]]:
    labels = prepared.labels[rows]
    found = []
    for k, name in enumerate(model.target.names):
        own = rows[labels[:, k] == 1] if labels.ndim == 2 else rows[labels == k]
        found += [(picture, name) for picture in _pictures(prepared, own[:THUMBNAILS_A_CLASS])]
    return found


def _pictures(prepared: Prepared, rows: Tensor) -> list[np.ndarray]:
    if not len(rows):
        return []
    return list(prepared.images.gather(rows, [IMAGE])[IMAGE].permute(0, 2, 3, 1).numpy())


def _mistakes(model: Model, prepared: Prepared, rows: Tensor, outputs: Tensor) -> list[Mistake]:
    """The pictures whose grade is furthest off, or whose wrong class is the most certain, with saliency."""
    from scantling.run.saliency import grad_cam

    result = model.decide(outputs.to(model.device))
    probabilities, labels = result.probabilities.cpu(), prepared.labels[rows]
    predicted = probabilities.argmax(1)
    certainty = probabilities.max(1).values
    distance = (predicted - labels).abs() if model.target.kind == "grade" else torch.ones_like(labels)
    wrong = (labels >= 0) & (predicted != labels)
    order = torch.where(wrong, distance + certainty.clamp(max=0.999), torch.tensor(-1.0)).argsort(descending=True)
    chosen = order[: min(MISTAKES, int(wrong.sum()))]
    if not len(chosen):
        return []
    batch = prepared.loader(rows[chosen], len(chosen), sampler="sequential").batch(rows[chosen])
    maps = grad_cam(model, batch)
    return [
        Mistake(
            image=picture,
            truth=model.target.names[int(labels[i])],
            predicted=model.target.names[int(predicted[i])],
            probability=float(certainty[i]),
            name=f"row {int(rows[i]) + 2} of the manifest",
            saliency=None if maps is None else maps[n].cpu().numpy(),
        )
        for n, (i, picture) in enumerate(zip(chosen.tolist(), _pictures(prepared, rows[chosen]), strict=True))
    ]


def _recipe(home: Path) -> dict[str, Any]:
    """Manifest and cache that a run's recipe names."""
    import yaml

    for folder in (home, home.parent):
        if (folder / "recipe.yaml").is_file():
            content = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
            sections = [content, *(content.get("stages") or {}).values()]
            return next((s["data"] for s in sections[::-1] if isinstance(s.get("data"), dict)), {})
    return {}


def _curves(path: Path) -> dict[str, list[float]] | None:
    if not path.is_file():
        return None
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {k: [float(r[k]) if r[k] else float("nan") for r in rows] for k in (rows[0] if rows else {})} or None


def _timing(stage: Path) -> dict[str, float]:
    file = stage / "timing.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    curves = _curves(stage / "log" / "metrics.csv")
    return {**found, **({"training": sum(curves["seconds"])} if curves and "seconds" in curves else {})}
