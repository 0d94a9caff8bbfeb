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

from scantling.core.batch import IMAGE, MASK
from scantling.core.bundle import find_bundle
from scantling.core.errors import DataError
from scantling.core.files import write_json
from scantling.data.manifest import SPLITS, Manifest
from scantling.data.settings import DataSettings
from scantling.metrics import segmentation
from scantling.metrics.evaluation import evaluate_masks, evaluate_predictions
from scantling.run.bundle import now, versions
from scantling.run.looks import add_looks
from scantling.run.model import Augmentation, Model, load, pick_device
from scantling.run.prepare import Prepared, prepare, read_manifest
from scantling.run.records import columns_of, patient_codes, predictions_of
from scantling.run.report import write_report
from scantling.run.report_content import MaskExample, Mistake, ReportContent
from scantling.run.report_text import render_text

Progress = Callable[[int, int], None]
THUMBNAILS_A_CLASS, MISTAKES, MASK_EXAMPLES = 6, 9, 6


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
) -> Evaluation:
    """Evaluate a run or a bundle on a manifest.

    Args:
        path: run folder or bundle.
        data: manifest; left out, the one that the run was trained with.
        split: train, val, test, or all.
        out: folder for ``evaluation_<split>.json`` and ``report.html``; left out, the run folder.
        by: columns of the manifest to tabulate by.
        augmentation: average over flips, or over flips and quarter turns.
        replicates: of the bootstrap.
        device: auto, cpu, cuda ...
        batch_size: images at a time.
        progress: called with images done and images in all.

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
    outputs, masks = _run(model, prepared, rows, augmentation, batch_size, progress)
    if model.target.kind == "mask":
        content = _evaluate_masks(model, prepared, rows, masks, by, replicates)
    else:
        model.objective.to("cpu")
        predictions = predictions_of(model.objective, model.target, prepared, rows, outputs)
        _require_labels(predictions.labelled, manifest, split)
        content = evaluate_predictions(predictions, by=by, replicates=replicates)
        model.to(pick_device(device))
    folder = Path(out) if out is not None else home
    content = {**content, "split": split, "created": now(), "augmentation": augmentation}
    write_json(folder / f"evaluation_{split}.json", content)
    seconds = {"evaluation": time.perf_counter() - started, **_timing(bundle.parent)}
    report = _report(model, prepared, rows, outputs, masks, content, split, bundle, home, seconds)
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
) -> tuple[Tensor, np.ndarray]:
    """Raw outputs ``(n, K)``, or for masks the predicted classes ``(n, H, W)`` uint8."""
    outputs, masks, done = [], [], 0
    for batch in prepared.loader(rows, batch_size, sampler="sequential"):
        out = model.outputs(batch, augmentation)
        if model.target.kind == "mask":
            masks.append(model.objective.decode(out).argmax(1).to(torch.uint8).cpu().numpy())
        else:
            outputs.append(out.float().cpu())
        done += len(batch)
        if progress is not None:
            progress(done, len(rows))
    return (torch.cat(outputs) if outputs else torch.empty(0)), (np.concatenate(masks) if masks else np.empty(0))


def _evaluate_masks(
    model: Model, prepared: Prepared, rows: Tensor, masks: np.ndarray, by: Sequence[str], replicates: int
) -> dict[str, Any]:
    truth = _truth(prepared, rows)
    size = model.target.size
    figures = {"dice": segmentation.dice, "iou": segmentation.iou, "hd95": segmentation.hd95}
    per_image = {name: figure(truth, masks, size) for name, figure in figures.items()}
    table = prepared.manifest.table.iloc[rows.numpy()]
    return evaluate_masks(model.target, per_image, patient_codes(table), columns_of(table), by, replicates)


def _truth(prepared: Prepared, rows: Tensor) -> np.ndarray:
    return prepared.images.gather(rows, [MASK])[MASK].numpy()


def _report(
    model: Model,
    prepared: Prepared,
    rows: Tensor,
    outputs: Tensor,
    masks: np.ndarray,
    content: dict[str, Any],
    split: str,
    bundle: Path,
    home: Path,
    seconds: dict[str, float],
) -> ReportContent:
    provenance = model.meta.get("provenance", {})
    classes = provenance.get("data", {}).get("classes") or None
    is_mask = model.target.kind == "mask"
    recipe_file = home / "recipe.yaml"
    return ReportContent(
        recipe=str(provenance.get("recipe", bundle.name)),
        summary=str(model.meta.get("summary", "")),
        evaluation=content,
        split=split,
        class_counts=classes,
        thumbnails=[] if is_mask else _thumbnails(model, prepared, rows),
        curves=_curves(bundle.parent / "log" / "metrics.csv"),
        mistakes=[] if is_mask or model.target.kind == "findings" else _mistakes(model, prepared, rows, outputs),
        masks=_mask_examples(prepared, rows, masks, model.target.size) if is_mask else [],
        meter=model.meta.get("meter"),
        timing=seconds,
        versions=versions(),
        recipe_yaml=recipe_file.read_text(encoding="utf-8") if recipe_file.is_file() else None,
        created=content["created"],
    )


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


def _mask_examples(prepared: Prepared, rows: Tensor, masks: np.ndarray, size: int) -> list[MaskExample]:
    """Pictures from the worst to the best Dice, evenly spaced."""
    truth = _truth(prepared, rows)
    dice = np.nanmean(
        np.concatenate([segmentation.dice(truth, masks, size), np.full((len(rows), 1), np.nan)], 1), axis=1
    )
    order = np.argsort(np.where(np.isnan(dice), np.inf, dice))
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(MASK_EXAMPLES, len(order))).round().astype(int))]
    pictures = _pictures(prepared, rows[torch.from_numpy(chosen)])
    return [
        MaskExample(p, truth[i], masks[i], float(dice[i]), f"row {int(rows[i]) + 2} of the manifest")
        for i, p in zip(chosen.tolist(), pictures, strict=True)
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
