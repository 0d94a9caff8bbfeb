"""How a recipe trains: the section ``trainer``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from scantling.core.errors import RecipeError

Precision = Literal["32", "bf16-mixed", "16-mixed"]


@dataclass
class TrainerSettings:
    """The trainer.

    Args:
        max_epochs: passes over the training images.
        precision: 32, bf16-mixed, or 16-mixed (on a GPU only; a CPU takes bf16-mixed instead, and says so).
        accelerator: auto, cpu, gpu or mps.
        devices: how many processes on this machine, or auto.
        num_nodes: machines.
        strategy: Lightning's strategy: auto, ddp, fsdp ...
        accumulate_grad_batches: batches whose gradients make one step.
        gradient_clip_val: largest norm of the gradient; left out, no limit.
        patience: epochs without a better validation figure after which training stops; left out, it goes on.
        seed: of the weights, the order of the images and every augmentation.
        checkpoint_minutes: write a checkpoint inside an epoch when this much time has gone by.
        checkpoint_steps: write a checkpoint inside an epoch every so many steps; left out, by time only.
        deterministic: use only operations that repeat themselves bit by bit.
        channels_last: keep images in channels-last order in memory; faster for convolutions in half precision.
        calibrate: fit a temperature to the validation set after training.
        loggers: more loggers, by class and settings, such as lightning.pytorch.loggers.WandbLogger.
        limit_train_batches: use only so many batches an epoch, for a quick try.
    """

    max_epochs: int = 25
    precision: Precision = "32"
    accelerator: str = "auto"
    devices: int | str = "auto"
    num_nodes: int = 1
    strategy: str = "auto"
    accumulate_grad_batches: int = 1
    gradient_clip_val: float | None = None
    patience: int | None = None
    seed: int = 0
    checkpoint_minutes: float = 5.0
    checkpoint_steps: int | None = None
    deterministic: bool = True
    channels_last: bool = False
    calibrate: bool = True
    loggers: list[dict[str, Any]] = field(default_factory=list)
    limit_train_batches: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_epochs", "num_nodes", "accumulate_grad_batches"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}", where=f"trainer.{name}", do="use 1 or more")
