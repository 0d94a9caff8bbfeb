"""Lightning's trainer as the settings ask for it, and the loaders as Lightning sees them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from scantling.core.errors import RecipeError
from scantling.run.telling import say

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from tensordict import TensorDict

    from scantling.data.loader import Loader
    from scantling.run.settings import TrainerSettings


def make_trainer(
    settings: TrainerSettings, stage: str, home: Path, monitor: str, progress: bool
) -> tuple[Any, Any, Any]:
    """Lightning's trainer, the callback that keeps checkpoints, and the one that shows progress.

    Args:
        settings: of the recipe.
        stage: name shown with the progress.
        home: folder of the stage.
        monitor: validation figure that the best weights are chosen by.
        progress: print progress.

    Raises:
        RecipeError: settings that Lightning refuses, or an unknown logger.
    """
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
