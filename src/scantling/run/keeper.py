"""What a run keeps: the last checkpoint to resume from, the best weights, a table of epochs, when to stop."""

from __future__ import annotations

import csv
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from scantling.nets import torchvision_ops  # noqa: F401  (must run before lightning imports torchvision)

from lightning.pytorch.callbacks import Checkpoint  # isort: skip

from scantling.core.errors import TrainingError
from scantling.core.files import writing

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from scantling.tasks.task import Task

LOWER_IS_BETTER = ("loss", "hd95", "ece", "brier", "mae")


def lower_is_better(figure: str) -> bool:
    """Whether the best value of a validation figure is the smallest one."""
    return figure.removeprefix("val_").startswith(LOWER_IS_BETTER)


class Keeper(Checkpoint):
    """Writes checkpoints atomically, keeps the best weights, and ends a run that no longer gets better.

    Args:
        folder: of the stage.
        monitor: validation figure that picks the best weights.
        patience: epochs without a better figure until the run ends; None for never.
        minutes: time between checkpoints inside an epoch.
        steps: steps between checkpoints inside an epoch; None for time only.
    """

    def __init__(self, folder: Path, monitor: str, patience: int | None, minutes: float, steps: int | None) -> None:
        self.last, self.best = folder / "checkpoints" / "last.ckpt", folder / "checkpoints" / "best.safetensors"
        self.table = folder / "log" / "metrics.csv"
        self.monitor, self.patience, self.minutes, self.steps = monitor, patience, minutes, steps
        self.lower = lower_is_better(monitor)
        self.best_value: float | None = None
        self.best_epoch = -1
        self.rows: list[dict[str, float]] = []
        self._written, self._step, self._started = time.monotonic(), 0, time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers only, so that a checkpoint is read without pickle."""
        return {"best_value": self.best_value, "best_epoch": self.best_epoch, "rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.best_value, self.best_epoch = state_dict["best_value"], state_dict["best_epoch"]
        self.rows = list(state_dict["rows"])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the epoch."""
        self._started = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a checkpoint inside an epoch when it is due and no gradient is being accumulated."""
        if trainer.is_last_batch or trainer.global_step == self._step or trainer.fit_loop._should_accumulate():
            return
        by_steps = self.steps is not None and trainer.global_step % self.steps == 0
        by_time = trainer.world_size == 1 and time.monotonic() - self._written > 60 * self.minutes
        if by_steps or by_time:
            self.write(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the weights when the monitored figure is the best so far."""
        if trainer.sanity_checking:
            return
        figures = trainer.callback_metrics
        key = f"val_{self.monitor.removeprefix('val_')}"
        value = float(figures.get(key, torch.tensor(math.nan)))
        if key not in figures and self.best_value is None and trainer.is_global_zero:
            known = ", ".join(sorted(k.removeprefix("val_") for k in figures if k.startswith("val_")))
            print(f"warning: no figure '{self.monitor}' in this validation; known: {known}", flush=True)
        better = self.best_value is None or (value < self.best_value if self.lower else value > self.best_value)
        if math.isnan(value):
            better = self.best_value is None
        if better:
            self.best_value = None if math.isnan(value) else value
            self.best_epoch = trainer.current_epoch
            if trainer.is_global_zero:
                self._write_best(pl_module)  # type: ignore[arg-type]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add a row to the table of epochs, write a checkpoint, and stop where patience has run out."""
        figures = {k: float(v) for k, v in trainer.callback_metrics.items()}
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        rate = groups[0]["lr"] if groups else 0.0
        row = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step, **figures, "lr": float(rate)}
        self.rows = [r for r in self.rows if r["epoch"] < row["epoch"]]
        self.rows.append({**row, "seconds": round(time.monotonic() - self._started, 3)})
        if trainer.is_global_zero:
            write_rows(self.table, self.rows)
        if self.patience is not None and trainer.current_epoch - self.best_epoch >= self.patience:
            trainer.should_stop = True
        self.write(trainer)

    def write(self, trainer: Trainer) -> None:
        """Write the last checkpoint under a temporary name and rename it.

        Raises:
            TrainingError: weights that are no numbers, or a file that cannot be written; the earlier one stays.
        """
        part = self.last.with_suffix(".part")
        parameters = [p for p in trainer.lightning_module.parameters() if p.requires_grad]
        if parameters and not bool(torch.stack([torch.isfinite(p).all() for p in parameters]).all()):
            raise TrainingError(
                "a weight became infinite or no number",
                where=f"epoch {trainer.current_epoch + 1}",
                do="lower task.optimizer.lr or set trainer.gradient_clip_val; the last checkpoint is kept",
            )
        try:
            if trainer.is_global_zero:
                self.last.parent.mkdir(parents=True, exist_ok=True)
            trainer.save_checkpoint(part)
            if trainer.is_global_zero:
                part.replace(self.last)
        except (OSError, RuntimeError) as error:
            part.unlink(missing_ok=True)
            raise TrainingError(
                f"the checkpoint cannot be written ({str(error).splitlines()[0]})",
                where=self.last,
                do="free some space and go on with --resume; the earlier checkpoint is kept",
            ) from error
        self._written, self._step = time.monotonic(), trainer.global_step

    def _write_best(self, task: Task) -> None:
        from safetensors.torch import save_file

        with writing(self.best) as part:
            save_file(task.kept_state(), part)


def write_rows(path: Path, rows: list[dict[str, float]]) -> None:
    """Write a table of epochs as CSV, columns in the order of their first appearance."""
    names = [*dict.fromkeys(k for row in rows for k in row if k != "seconds"), "seconds"]
    with writing(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, names)
        table.writeheader()
        table.writerows(rows)
