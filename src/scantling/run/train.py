"""The verb ``train``: from a recipe and a manifest to a run folder with a bundle for every stage."""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scantling.core.bundle import is_bundle
from scantling.core.errors import DataError, RecipeError, ScantlingError, TrainingError
from scantling.core.files import os_error, write_json, write_text
from scantling.core.seams import Inputs
from scantling.metrics.evaluation import evaluate_predictions
from scantling.run.bundle import now, save_bundle, versions
from scantling.run.prepare import Prepared, measured_inputs, prepare, read_manifest
from scantling.run.ranks import is_worker
from scantling.run.recipe import Recipe, Stage, refer, resolve
from scantling.run.records import predictions_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightning.pytorch import Trainer
    from tensordict import TensorDict

    from scantling.data.loader import Loader
    from scantling.data.settings import DataSettings
    from scantling.run.settings import TrainerSettings
    from scantling.tasks.task import Task

IMPORTED = time.time()
RECIPE, TIMING = "recipe.yaml", "timing.json"


@dataclass
class RunResult:
    """What a training leaves.

    Args:
        folder: of the run.
        bundle: the last stage's.
        metrics: its validation figures with intervals.
        notices: what the user should know.
    """

    folder: Path
    bundle: Path
    metrics: dict[str, Any]
    notices: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """A few lines for the terminal."""
        name, figure = next(iter(self.metrics.get("values", {}).items()), ("", dict[str, Any]()))
        lines = [f"bundle: {self.bundle}", f"log: {self.bundle.parent / 'log' / 'metrics.csv'}"]
        if name and figure.get("value") is not None:
            low, high = figure.get("low"), figure.get("high")
            interval = f" (95 % {low:.3f} - {high:.3f})" if low is not None and high is not None else ""
            lines.insert(0, f"validation {name} {figure['value']:.4f}{interval}")
        return "\n".join(lines)


def train(
    recipe: str | Path,
    data: str | Path | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    progress: bool = True,
) -> RunResult:
    """Train a recipe on a manifest.

    Args:
        recipe: name of a recipe (see ``scantling recipes``) or a YAML file.
        data: manifest, CSV or Parquet; left out, the one that the recipe names.
        out: run folder; left out, ``runs/<recipe>``.
        resume: go on with the run in ``out`` where it stopped; finished stages are kept.
        overrides: settings by dotted key, ``{"trainer.max_epochs": 10}`` or ``["--trainer.max_epochs", "10"]``.
        progress: print progress.

    Returns:
        Where the results are.

    Raises:
        RecipeError: an unknown recipe, key or value; a run that is there already.
        DataError: data that cannot be used.
        TrainingError: a loss that is no number, a full disk.
    """
    named = [] if data is None else ["--data.manifest", str(data)]
    checked = resolve(recipe, [*_as_list(overrides), *named])
    folder = Path(out) if out is not None else Path("runs") / checked.name
    worker = is_worker()
    if not worker:
        _claim(folder, checked, resume)
    bundles: dict[str, Path] = {}
    notices: list[str] = []
    meta: dict[str, Any] = {}
    for stage in checked.stages:
        home = folder / stage.name
        bundles[stage.name] = home / "bundle"
        if is_bundle(home / "bundle") and not worker:
            say(progress, f"{stage.name}: finished already, {home / 'bundle'}")
        else:
            notices += _train_stage(checked, refer(stage, bundles), home, resume or worker, progress)
        last = home / "bundle" / "bundle.json"
        meta = json.loads(last.read_text(encoding="utf-8")) if last.is_file() else {}
    return RunResult(folder, bundles[checked.stages[-1].name], meta.get("metrics", {}), notices)


def _as_list(overrides: Sequence[str] | Mapping[str, Any]) -> list[str]:
    if isinstance(overrides, Mapping):
        return [f"--{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in overrides.items()]
    return list(overrides)


def _claim(folder: Path, recipe: Recipe, resume: bool) -> None:
    """Write the resolved recipe into a new run folder, or check that a run there is the same."""
    file, text = folder / RECIPE, recipe.to_yaml()
    begun = any(folder.glob("*/checkpoints/*")) or any(folder.glob("*/bundle/*"))
    if begun:
        if not resume:
            raise RecipeError("a run is here already", where=folder, do="go on with --resume, or choose another --out")
        old = file.read_text(encoding="utf-8") if file.is_file() else ""
        if old != text:
            raise RecipeError(
                f"the run was started with other settings ({_first_difference(old, text)})",
                where=file,
                do="resume with the same settings, or choose another --out",
            )
        return
    if resume:
        raise RecipeError("there is no run to resume", where=folder, do="leave out --resume, or check --out")
    write_text(file, text)


def _first_difference(old: str, new: str) -> str:
    for a, b in zip(old.splitlines(), new.splitlines(), strict=False):
        if a != b:
            return f"then '{a.strip()}', now '{b.strip()}'"
    return "lines were added or removed"


def _train_stage(recipe: Recipe, stage: Stage, home: Path, resume: bool, progress: bool) -> list[str]:
    built = stage.build()
    task: Task = built.task
    settings: DataSettings = built.data
    trainer_settings: TrainerSettings = built.trainer
    manifest = read_manifest(settings.manifest)
    chief = not is_worker()
    wants = _wants(stage)
    shown = _decoding(stage.name) if progress and chief else None
    prepared = prepare(settings, manifest, wants, seed=trainer_settings.seed, progress=shown)
    inputs = measured_inputs(settings, prepared)
    train_rows, val_rows = prepared.rows("train"), prepared.rows("val")
    _require_labels(prepared, train_rows)
    task.channels_last = trainer_settings.channels_last
    task.build(prepared.target, inputs, _counts(prepared, train_rows), trainer_settings.seed)
    task.policy = settings.policy
    notices = [*prepared.notices, *_warnings(task, stage)]
    for notice in notices:
        say(progress and chief, f"note: {notice}")
    monitor = built.monitor or (prepared.target.metrics[0] if prepared.target.metrics else "loss")

    trainer, keeper, bar = _trainer(trainer_settings, stage.name, home, monitor, progress)
    rank = {"rank": trainer.global_rank, "world_size": trainer.world_size}
    drop_last = len(train_rows) >= settings.batch_size * trainer.world_size
    train_loader = prepared.loader(
        train_rows, settings.batch_size, sampler=settings.sampler, decay=settings.sampler_decay,
        seed=trainer_settings.seed, drop_last=drop_last, pin_memory=True, **rank,
    )  # fmt: skip
    val_loader = prepared.loader(
        val_rows, settings.eval_batch_size or 2 * settings.batch_size, sampler="sequential", **rank
    )
    task.steps_per_epoch = max(1, -(-len(train_loader) // trainer_settings.accumulate_grad_batches))
    if trainer_settings.limit_train_batches:
        task.steps_per_epoch = min(task.steps_per_epoch, trainer_settings.limit_train_batches)
    _fit(trainer, task, Epochs(train_loader, trainer), Batches(val_loader), keeper, resume)
    if trainer.global_rank == 0:
        _finish(recipe, stage, home, task, prepared, inputs, trainer_settings, keeper.best, progress)
        if bar.reached is not None and bar.first_step is not None:
            begun = process_start()
            moments = {"until_first_step_seconds": bar.reached, "until_first_step_done_seconds": bar.first_step}
            write_json(home / TIMING, {name: round(moment - begun, 2) for name, moment in moments.items()})
    trainer.strategy.barrier("bundle")
    return notices


def process_start() -> float:
    """When this process began, in seconds since 1970; where the system does not tell, when this module was imported."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return IMPORTED
    return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")


class Epochs:
    """The training loader as Lightning sees it: every epoch in its own order, from the step that a checkpoint names.

    Lightning counts the batches that were used; after a resume the loader goes on behind them.
    """

    def __init__(self, loader: Loader, trainer: Trainer) -> None:
        self.loader, self.trainer = loader, trainer

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[TensorDict]:
        loop: Any = self.trainer.fit_loop
        used = loop.epoch_loop.batch_progress.current.ready
        self.loader.set_epoch(loop.epoch_progress.current.processed)
        self.loader.start_at(used if used < min(loop.max_batches, len(self)) else 0)
        return iter(self.loader)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the trainer's own counters say it all."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to restore."""


class Batches:
    """A loader as Lightning sees it: only its batches, so that Lightning does not look for a sampler to replace."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[TensorDict]:
        return iter(self.loader)


def _trainer(settings: TrainerSettings, stage: str, home: Path, monitor: str, progress: bool) -> tuple[Any, Any, Any]:
    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers import TensorBoardLogger

    from scantling.run.keeper import Keeper
    from scantling.run.progress import Progress

    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    keeper = Keeper(home, monitor, settings.patience, settings.checkpoint_minutes, settings.checkpoint_steps)
    bar = Progress(stage, monitor, quiet=not progress)
    try:
        trainer = Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            strategy=settings.strategy,
            precision=usable_precision(settings, progress),
            max_epochs=settings.max_epochs,
            accumulate_grad_batches=settings.accumulate_grad_batches,
            gradient_clip_val=settings.gradient_clip_val,
            limit_train_batches=settings.limit_train_batches,
            deterministic="warn" if settings.deterministic else False,
            benchmark=False,
            logger=[TensorBoardLogger(home / "log", name="", version="tensorboard"), *_loggers(settings)],
            callbacks=[bar, keeper],
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            log_every_n_steps=1,
        )
    except (ValueError, RuntimeError) as error:
        raise RecipeError(
            str(error).splitlines()[0], where="trainer", do="check devices, strategy, precision"
        ) from error
    except Exception as error:
        if type(error).__name__ != "MisconfigurationException":
            raise
        raise RecipeError(str(error).splitlines()[0], where="trainer", do="check devices and accelerator") from error
    return trainer, keeper, bar


def usable_precision(settings: TrainerSettings, aloud: bool) -> Any:
    """The precision that this machine can compute: half floats need a GPU, a CPU takes bfloat16 in their place."""
    on_cpu = settings.accelerator == "cpu" or (settings.accelerator == "auto" and not torch.cuda.is_available())
    if settings.precision == "16-mixed" and on_cpu:
        say(aloud, "note: a CPU cannot train in 16-mixed; it takes bf16-mixed")
        return "bf16-mixed"
    return "32-true" if settings.precision == "32" else settings.precision


def _loggers(settings: TrainerSettings) -> list[Any]:
    import lightning.pytorch.loggers as known

    made = []
    for description in settings.loggers:
        name = str(description.get("class_path", "")).removeprefix("lightning.pytorch.loggers.")
        if not hasattr(known, name):
            raise RecipeError(
                f"unknown logger '{name}'", where="trainer.loggers", do="use one of lightning.pytorch.loggers"
            )
        made.append(getattr(known, name)(**(description.get("init_args") or {})))
    return made


def _fit(trainer: Trainer, task: Task, train: Epochs, val: Batches, keeper: Any, resume: bool) -> None:
    checkpoint = keeper.last if resume and keeper.last.is_file() else None
    task.train()
    try:
        trainer.fit(task, train, val, ckpt_path=checkpoint, weights_only=True if checkpoint else None)
    except ScantlingError:
        raise
    except OSError as error:
        raise os_error(error, keeper.last.parent.parent) from error
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            "the GPU's memory is full",
            where="training",
            do="lower data.batch_size or data.image_size, or use bf16-mixed",
        ) from error
    if trainer.interrupted:
        raise KeyboardInterrupt


def _finish(
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
        rows = prepared.rows("val")
        outputs = collect_outputs(task, prepared, rows)
        labels = prepared.labels[rows]
        if settings.calibrate:
            task.objective.fit_temperature(outputs, labels)
        metrics["values"] = _measure(task, prepared, rows, outputs)
    elif prepared.target.kind == "mask":
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
    about = {"name": recipe.name, **recipe.about}
    bundle = save_bundle(home / "bundle", task.kept_state(), description, about)
    say(progress, f"{stage.name}: {bundle}")


def _meter(stage: Stage, task: Task, prepared: Prepared, inputs: Inputs, settings: TrainerSettings) -> dict[str, Any]:
    """Parameters, FLOPs and memory of a training step; only the parameters where the step cannot be followed."""
    from scantling.run.meter_recipe import meter_task

    try:
        return meter_task(
            task, prepared.target, inputs, stage.plain["data"]["batch_size"], settings.precision
        ).to_json()
    except ScantlingError:
        parameters = list(task.adapter.parameters())
        learnable = sum(p.numel() for p in parameters if p.requires_grad)
        return {"total": sum(p.numel() for p in parameters), "learnable": learnable}


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
        if prepared.target.kind in {"grade", "class", "findings"}:
            counts = count_classes(prepared.target, prepared.labels[torch.from_numpy(rows)])
            present = counts[:, 1] if counts.ndim == 2 else counts
            classes[name] = dict(zip(prepared.target.names, [int(c) for c in present], strict=True))
    return {"splits": splits, "classes": classes}


def _counts(prepared: Prepared, rows: Tensor) -> Tensor | None:
    from scantling.tasks.objectives import count_classes

    if prepared.target.kind in {"mask", "none"}:
        return None
    return count_classes(prepared.target, prepared.labels[rows])


def _objective_description(task: Task, init_args: Mapping[str, Any]) -> dict[str, Any]:
    given = init_args.get("objective")
    if given:
        return {"class_path": given["class_path"], "init_args": given.get("init_args") or {}}
    return {"class_path": task.target.objective, "init_args": {}}


def _wants(stage: Stage) -> tuple[str, ...]:
    from scantling.core.build import import_object

    return import_object(stage.plain["task"]["init_args"]["adapter"]["class_path"]).wants


def _require_labels(prepared: Prepared, rows: Tensor) -> None:
    labels = prepared.labels[rows]
    if prepared.target.kind in {"mask", "none"}:
        return
    known = labels.isfinite().any(1) if labels.ndim == 2 else labels >= 0
    if not bool(known.any()):
        raise DataError("no training image has a label", where=prepared.manifest.source, do="fill the column 'label'")


def _warnings(task: Task, stage: Stage) -> list[str]:
    from scantling.tasks.constant_predictor import adaptive_rate_warning

    adapter = stage.plain["task"]["init_args"]["adapter"].get("init_args") or {}
    settings = task.optimizer_settings
    found = adaptive_rate_warning(settings.name, settings.rate, adapter.get("weights", "none") != "none")
    return [found] if found else []


def _best_row(path: Path, names: Sequence[str]) -> dict[str, Any]:
    import csv

    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    best = {n: [float(r[f"val_{n}"]) for r in rows if r.get(f"val_{n}")] for n in names}
    return {n: {"value": max(v), "low": None, "high": None} for n, v in best.items() if v}


def _decoding(stage: str) -> Any:
    from scantling.core.clock import clock

    started, last = time.monotonic(), [0.0]

    def show(done: int, total: int) -> None:
        moment = time.monotonic()
        if moment - last[0] < 5.0 and done < total:
            return
        last[0] = moment
        left = (moment - started) / max(1, done) * (total - done)
        print(f"{stage}: decoded {done}/{total} images  {clock(left)} left", flush=True)

    return show


def say(aloud: bool, text: str) -> None:
    """Print a line where printing is wanted."""
    if aloud:
        print(text, flush=True)
