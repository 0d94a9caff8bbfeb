"""The verb ``train``: from a recipe and a manifest to a run folder with a bundle for every stage."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scantling.core.batch import MAPS
from scantling.core.build import import_object
from scantling.core.bundle import is_bundle
from scantling.core.errors import DataError, RecipeError, ScantlingError, TrainingError
from scantling.core.files import os_error, write_json, write_text
from scantling.core.seams import Adapter
from scantling.run.finish import finish, used_rows
from scantling.run.looks import add_looks, add_maps
from scantling.run.prepare import Prepared, measured_inputs, prepare, read_manifest
from scantling.run.ranks import is_worker
from scantling.run.recipe import Recipe, Stage, refer, resolve
from scantling.run.telling import counting, say
from scantling.run.trainer import Batches, Epochs, make_trainer

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

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
    manifest = task.manifest_to_use(read_manifest(settings.manifest))
    chief = not is_worker()
    adapter = stage.plain["task"]["init_args"]["adapter"]
    kind = import_object(adapter["class_path"], Adapter)
    with counting(f"{stage.name}: reading images") if progress and chief else nullcontext() as told:
        prepared = prepare(settings, manifest, kind.wants, seed=trainer_settings.seed, progress=told)
    inputs = measured_inputs(settings, prepared)
    train_rows, val_rows = (used_rows(task, prepared, split) for split in ("train", "val"))
    _require_labels(prepared, train_rows)
    looks = kind.views(adapter.get("init_args") or {}, inputs)
    if looks:
        device = "cuda" if torch.cuda.is_available() and trainer_settings.accelerator != "cpu" else "cpu"
        with (
            counting(f"{stage.name}: reading images at another size") if progress and chief else nullcontext() as read,
            counting(f"{stage.name}: frozen features") if progress and chief else nullcontext() as derived,
        ):
            add_looks(prepared, looks, settings, device, decoding=read, deriving=derived)
        # A derivation may hold a large network, which nobody needs from here on.
        del looks
    for derivation in () if task.mixer is None else task.mixer.derivations():
        with counting(f"{stage.name}: maps of the images") if progress and chief else nullcontext() as told:
            add_maps(prepared, derivation, told)
    task.channels_last, task.preprocess = trainer_settings.channels_last, prepared.preprocess
    task.survey(prepared.manifest, prepared.images, train_rows, trainer_settings.seed)
    task.build(prepared.target, inputs, _counts(prepared, train_rows), trainer_settings.seed)
    task.policy = settings.policy
    notices = [*prepared.notices, *_warnings(task, stage)]
    for notice in notices:
        say(progress and chief, f"note: {notice}")
    monitor = built.monitor or (prepared.target.metrics[0] if prepared.target.metrics else "loss")

    trainer, keeper, bar = make_trainer(trainer_settings, stage.name, home, monitor, progress)
    rank = {"rank": trainer.global_rank, "world_size": trainer.world_size}
    drop_last = task.epoch_length(train_rows) >= settings.batch_size * trainer.world_size
    train_loader = prepared.loader(
        train_rows, settings.batch_size, sampler=settings.sampler, decay=settings.sampler_decay,
        power=settings.sampler_power, beta=settings.sampler_beta,
        seed=trainer_settings.seed, drop_last=drop_last, pin_memory=True,
        partners=None if task.mixer is None else task.mixer.partners, **task.loader_options(), **rank,
    )  # fmt: skip
    seen = [name for name in prepared.images.fields if name not in MAPS]
    val_loader = prepared.loader(
        val_rows, settings.eval_batch_size or 2 * settings.batch_size, sampler="sequential", fields=seen, **rank
    )
    task.steps_per_epoch = max(1, -(-len(train_loader) // trainer_settings.accumulate_grad_batches))
    if trainer_settings.limit_train_batches:
        task.steps_per_epoch = min(task.steps_per_epoch, trainer_settings.limit_train_batches)
    _fit(trainer, task, Epochs(train_loader, trainer), Batches(val_loader), keeper, resume)
    if trainer.global_rank == 0:
        finish(recipe, stage, home, task, prepared, inputs, trainer_settings, keeper.best, progress)
        if bar.reached is not None and bar.first_step is not None:
            begun = process_start()
            steps = {"step_seconds": round(median(bar.step_seconds), 5)} if bar.step_seconds else {}
            moments = {"until_first_step_seconds": bar.reached, "until_first_step_done_seconds": bar.first_step}
            write_json(home / TIMING, {name: round(moment - begun, 2) for name, moment in moments.items()} | steps)
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


def _fit(trainer: Trainer, task: Task, train: Epochs, val: Batches, keeper: Any, resume: bool) -> None:
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

    checkpoint = keeper.last if resume and keeper.last.is_file() else None
    task.train()
    try:
        trainer.fit(task, train, val, ckpt_path=checkpoint, weights_only=True if checkpoint else None)
    except (ScantlingError, BrokenPipeError):
        raise
    except OSError as error:
        raise os_error(error, keeper.last.parent.parent) from error
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            "the GPU's memory is full",
            where="training",
            do="lower data.batch_size or data.image_size, or use bf16-mixed",
        ) from error
    except MisconfigurationException as error:
        raise RecipeError(str(error).splitlines()[0], where="trainer", do="leave this setting out") from error
    if trainer.interrupted:
        raise KeyboardInterrupt


def _counts(prepared: Prepared, rows: Tensor) -> Tensor | None:
    from scantling.tasks.objectives import count_classes

    if prepared.target.dense or prepared.target.kind == "none":
        return None
    return count_classes(prepared.target, prepared.labels[rows])


def _require_labels(prepared: Prepared, rows: Tensor) -> None:
    labels = prepared.labels[rows]
    if prepared.target.dense or prepared.target.kind == "none":
        return
    known = labels.isfinite().any(1) if labels.ndim == 2 else labels >= 0
    if not bool(known.any()):
        raise DataError("no training image has a label", where=prepared.manifest.source, do="fill the column 'label'")


def _warnings(task: Task, stage: Stage) -> list[str]:
    from scantling.tasks.constant_predictor import adaptive_rate_warning

    adapter = stage.plain["task"]["init_args"]["adapter"].get("init_args") or {}
    settings = task.optimizer_settings
    learns = any("body." in name for name, _ in task.learnable())
    found = adaptive_rate_warning(settings.name, settings.rate, learns and adapter.get("weights", "none") != "none")
    return [found] if found else []
