"""Optimiser and learning-rate schedule of a task, as settings that a recipe can hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from scantling.core.errors import RecipeError
from scantling.tasks.schedules import ScheduleName, schedule

if TYPE_CHECKING:
    import torch
    from torch import nn

DEFAULT_RATES = {"sgd": 1e-3, "adam": 1e-4, "adamw": 1e-4}
"""First learning rate of each optimiser where a recipe names none: adaptive ones collapse at SGD's rate."""


@dataclass
class OptimizerSettings:
    """The optimiser.

    Args:
        name: sgd, adam or adamw.
        lr: first learning rate; left out, 1e-3 for sgd and 1e-4 for the adaptive ones.
        weight_decay: decay of weights; biases and normalisation layers are spared when `decay_vectors` is false.
        momentum: of sgd.
        nesterov: Nesterov's form of momentum, for sgd.
        backbone_lr: factor of the rate for the backbone's parameters, in [0, 1].
        decay_vectors: decay biases and normalisation layers too, as the published DR system does.
    """

    name: Literal["sgd", "adam", "adamw"] = "adamw"
    lr: float | None = None
    weight_decay: float = 0.05
    momentum: float = 0.9
    nesterov: bool = True
    backbone_lr: float = 1.0
    decay_vectors: bool = False

    @property
    def rate(self) -> float:
        """The first learning rate."""
        return DEFAULT_RATES[self.name] if self.lr is None else self.lr

    def build(self, named: Iterable[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
        """An optimiser of these parameters.

        Raises:
            RecipeError: there is nothing to learn, or the rate is negative.
        """
        import torch

        if self.rate < 0:
            raise RecipeError(f"a learning rate of {self.rate:g}", where="task.optimizer.lr", do="give a positive one")
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in named:
            decayed = self.decay_vectors or parameter.ndim > 1
            groups.setdefault((name.startswith("backbone."), decayed), []).append(parameter)
        if not groups:
            raise RecipeError("no parameter learns", where="task.adapter", do="choose an adapter with a learnable part")
        settings = [
            {
                "params": parameters,
                "lr": self.rate * (self.backbone_lr if backbone else 1.0),
                "weight_decay": self.weight_decay if decayed else 0.0,
            }
            for (backbone, decayed), parameters in groups.items()
        ]
        if self.name == "sgd":
            return torch.optim.SGD(
                settings, lr=self.rate, momentum=self.momentum, nesterov=self.nesterov and self.momentum > 0
            )
        kind = torch.optim.Adam if self.name == "adam" else torch.optim.AdamW
        return kind(settings, lr=self.rate)


@dataclass
class ScheduleSettings:
    """How the learning rate changes.

    Args:
        name: constant, multi_step, exponential, cosine, clipped_cosine (never below `min_lr`) or polynomial.
        warmup_epochs: epochs of linear warm-up before the schedule.
        min_lr: floor of clipped_cosine.
        milestones: epochs after the warm-up at which multi_step falls.
        gamma: factor of multi_step or exponential.
        power: of polynomial.
        per: change the rate every `step` or every `epoch`.
    """

    name: ScheduleName = "cosine"
    warmup_epochs: int = 0
    min_lr: float = 1e-4
    milestones: list[int] = field(default_factory=list)
    gamma: float | None = None
    power: float = 0.9
    per: Literal["step", "epoch"] = "step"

    def build(
        self, optimizer: torch.optim.Optimizer, lr: float, epochs: int, steps_per_epoch: int
    ) -> torch.optim.lr_scheduler.LambdaLR:
        """A scheduler to be stepped after every optimiser step."""
        import torch

        factor = schedule(
            self.name,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            per=self.per,
            warmup=min(self.warmup_epochs, epochs),
            lr=lr,
            min_lr=min(self.min_lr, lr),
            milestones=self.milestones,
            gamma=self.gamma,
            power=self.power,
        )
        return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
