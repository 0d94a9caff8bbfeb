"""Progress of a training: a line an epoch, and on a terminal a bar with the time left."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from scantling.core.clock import clock
from scantling.nets import torchvision_ops  # noqa: F401  (must run before lightning imports torchvision)
from scantling.run.telling import open_bar

from lightning.pytorch.callbacks import Callback  # isort: skip

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from rich.progress import Progress as Bar


class Progress(Callback):
    """Prints one line an epoch with the figures and the time left; on a terminal also a bar inside the epoch.

    Args:
        stage: name shown before the line.
        monitor: validation figure that is shown.
        quiet: print nothing.
    """

    def __init__(self, stage: str, monitor: str, quiet: bool = False) -> None:
        self.stage, self.monitor, self.quiet = stage, monitor.removeprefix("val_"), quiet
        self.reached: float | None = None
        self.first_step: float | None = None
        self.step_seconds: list[float] = []
        self._last_end: float | None = None
        self._bar: Bar | None = None
        self._started = time.monotonic()
        self._done = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar on a terminal."""
        self._started, self._done = time.monotonic(), trainer.fit_loop.epoch_loop.batch_progress.total.completed
        if self.quiet or not trainer.is_global_zero or not sys.stderr.isatty():
            return
        self._bar = open_bar()
        self._bar.start()
        total = int(trainer.num_training_batches * (trainer.max_epochs or 1))
        self._bar.add_task(self.stage, total=total, completed=self._done)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Remember when the first step began."""
        self.reached = self.reached or time.time()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar; remember when the first step was done, and how long steps take, waiting for data included."""
        if self.first_step is None:
            self.first_step = time.time()
        now = time.monotonic()
        if self._last_end is not None and batch_idx > 0:
            self.step_seconds.append(now - self._last_end)
        self._last_end = now
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """One line about the epoch."""
        if self.quiet or not trainer.is_global_zero:
            return
        figures = {k: float(v) for k, v in trainer.callback_metrics.items()}
        parts = [f"{self.stage}: epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"]
        for key, name in (("train_loss", "loss"), ("val_loss", "val loss"), (f"val_{self.monitor}", self.monitor)):
            if key in figures:
                parts.append(f"{name} {figures[key]:.4f}")
        steps = int(trainer.num_training_batches)
        done = trainer.fit_loop.epoch_loop.batch_progress.total.completed - self._done
        left = max(0, (trainer.max_epochs or 1) - trainer.current_epoch - 1) * steps
        seconds = (time.monotonic() - self._started) / max(1, done) * left
        parts.append(f"{clock(seconds)} left")
        if self._bar is not None:
            self._bar.console.print("  ".join(parts))
        else:
            print("  ".join(parts), flush=True)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Close the bar, also after an error."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
