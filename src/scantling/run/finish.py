"""The end of a stage: the best weights, calibrated and measured, become a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scantling.core.errors import DataError, ScantlingError
from scantling.core.seams import Inputs
from scantling.metrics.evaluation import evaluate_predictions
from scantling.run.anomalies import measure_anomalies
from scantling.run.bundle import now, save_bundle, versions
from scantling.run.prepare import Prepared
from scantling.run.recipe import Recipe, Stage
from scantling.run.records import predictions_of
from scantling.run.telling import say

if TYPE_CHECKING:
    from scantling.run.settings import TrainerSettings
    from scantling.tasks.task import Task


def finish(
    recipe: Recipe,
    stage: Stage,
    home: Path,
    task: Task,
    prepared: Prepared,
    inputs: Inputs,
    settings: TrainerSettings,
    best: Path,
    progress: bool,
) -> None:
    """Put the best weights back, calibrate, measure on the validation split, write the bundle."""
    from safetensors.torch import load_file

    task.to("cuda" if next(task.parameters()).is_cuda or torch.cuda.is_available() else "cpu").eval()
    if best.is_file():
        task.load_kept_state(load_file(best))
    metrics: dict[str, Any] = {"split": "validation", "values": {}}
    if prepared.target.kind in {"grade", "class", "findings"}:
        rows = used_rows(task, prepared, "val")
        concluded = task.conclude(prepared.loader(rows, 32, sampler="sequential"))
        if concluded is None:
            outputs = collect_outputs(task, prepared, rows)
            labels = prepared.labels[rows]
            if settings.calibrate:
                task.objective.fit_temperature(outputs, labels)
            metrics["values"] = _measure(task, prepared, rows, outputs)
        else:
            metrics["values"] = measure_anomalies(task.to("cpu").objective, prepared.target, *concluded)
    elif prepared.target.dense:
        if settings.calibrate:
            task.conclude(prepared.loader(prepared.rows("val"), 1, sampler="sequential"))
        metrics["values"] = _best_row(home / "log" / "metrics.csv", prepared.target.metrics)
    init_args = stage.plain["task"]["init_args"]
    description = {
        "task": stage.plain["task"]["class_path"],
        "adapter": {
            "class_path": init_args["adapter"]["class_path"],
            "init_args": task.adapter.portable(init_args["adapter"].get("init_args") or {}),
        },
        "objective": _objective_description(task, init_args),
        "target": prepared.target.to_json(),
        "inputs": inputs.to_json(),
        "preprocess": prepared.preprocess.to_json(),
        "temperature": task.objective.temperature,
        "window": {"size": getattr(task, "patch_size", None), "overlap": getattr(task, "overlap", 0.25)},
        "provenance": {
            "recipe": recipe.name,
            "stage": stage.name,
            "created": now(),
            "seed": settings.seed,
            "versions": versions(),
            "data": data_summary(prepared),
        },
        "metrics": metrics,
        "summary": recipe.about.get("summary", ""),
        "meter": _meter(stage, task, prepared, inputs, settings),
    }
    frozen = task.adapter.frozen
    if frozen is not None:
        description["frozen"] = frozen.to_json()
        frozen.keep()
    about = {"name": recipe.name, **recipe.about}
    for remark in task.remarks():
        say(progress, f"note: {remark}")
    bundle = save_bundle(home / "bundle", task.kept_state(), description, about, task.attachments())
    say(progress, f"{stage.name}: {bundle}")


def _meter(stage: Stage, task: Task, prepared: Prepared, inputs: Inputs, settings: TrainerSettings) -> dict[str, Any]:
    """Parameters, FLOPs and memory of a training step; only the parameters where the step cannot be followed."""
    from scantling.run.meter_recipe import meter_task

    images = stage.plain["data"]["batch_size"]
    views = type(task.adapter).views(stage.plain["task"]["init_args"]["adapter"].get("init_args") or {}, inputs)
    try:
        return meter_task(task, prepared.target, inputs, images, settings.precision, views).to_json()
    except ScantlingError:
        parameters = list(task.adapter.parameters())
        learnable = sum(p.numel() for p in parameters if p.requires_grad)
        return {"total": sum(p.numel() for p in parameters), "learnable": learnable}


def used_rows(task: Task, prepared: Prepared, split: str) -> Tensor:
    """Rows of a split that the task trains on, or is validated on.

    Raises:
        DataError: there is none.
    """
    rows = prepared.rows(split)
    found = rows[task.rows_to_use(prepared.labels[rows])]
    if not len(found):
        raise DataError(
            f"no image of the split '{split}' can be used", where=prepared.manifest.source, do="give normal images"
        )
    return found


@torch.inference_mode()
def collect_outputs(task: Task, prepared: Prepared, rows: Tensor, batch_size: int = 32) -> Tensor:
    """Raw outputs of the network to keep, for these rows, in their order."""
    from scantling.core.batch import as_float

    device = next(task.parameters()).device
    loader = prepared.loader(rows, batch_size, sampler="sequential")
    return torch.cat([task.serving(as_float(batch.to(device))).float().cpu() for batch in loader])


def _measure(task: Task, prepared: Prepared, rows: Tensor, outputs: Tensor) -> dict[str, Any]:
    predictions = predictions_of(task.to("cpu").objective, prepared.target, prepared, rows, outputs)
    if not predictions.labelled.any():
        return {}
    return evaluate_predictions(predictions, by=(), replicates=1000)["metrics"]


def data_summary(prepared: Prepared) -> dict[str, Any]:
    """Counts of images, patients and classes by split; nothing that names a patient."""
    from scantling.tasks.objectives import count_classes

    table = prepared.manifest.table
    splits, classes = {}, {}
    for name in ("train", "val", "test"):
        rows = prepared.manifest.split(name)
        if not len(rows):
            continue
        patients = table["patient"].iloc[rows].nunique() if "patient" in table else None
        splits[name] = {"images": len(rows), "patients": patients}
        if prepared.target.kind in {"grade", "class", "findings", "biometry"}:
            counts = count_classes(prepared.target, prepared.labels[torch.from_numpy(rows)])
            present = counts[:, 1] if counts.ndim == 2 else counts
            classes[name] = dict(zip(prepared.target.names, [int(c) for c in present], strict=True))
    return {"splits": splits, "classes": classes}


def _objective_description(task: Task, init_args: Mapping[str, Any]) -> dict[str, Any]:
    given = init_args.get("objective")
    if given:
        return {"class_path": given["class_path"], "init_args": given.get("init_args") or {}}
    own = type(task.objective)
    default = task.target.objective if task.given_objective is None else f"{own.__module__}.{own.__qualname__}"
    return {"class_path": default, "init_args": {}}


def _best_row(path: Path, names: Sequence[str]) -> dict[str, Any]:
    import csv

    from scantling.run.keeper import lower_is_better

    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    told = {n: [float(r[f"val_{n}"]) for r in rows if r.get(f"val_{n}")] for n in names}
    best = {n: min(v) if lower_is_better(n) else max(v) for n, v in told.items() if v}
    return {n: {"value": value, "low": None, "high": None} for n, value in best.items()}
