"""Learning-rate schedules: pure functions from the epoch, whole or fractional, to a factor of the first rate."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from scantling.core.errors import RecipeError, nearest

ScheduleName = Literal["constant", "multi_step", "exponential", "cosine", "clipped_cosine", "polynomial"]


def multi_step(epoch: float, milestones: Sequence[float], gamma: float = 0.1) -> float:
    """``gamma`` to the power of the number of milestones reached.

    >>> [multi_step(e, (2, 4), 0.5) for e in (0, 1, 2, 3, 4)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    return float(gamma ** bisect_right(sorted(milestones), epoch))


def exponential(epoch: float, gamma: float = 0.9) -> float:
    """``gamma ** epoch``."""
    return float(gamma**epoch)


def cosine(epoch: float, epochs: float) -> float:
    """``(1 + cos(pi * epoch / epochs)) / 2``: from 1 to 0; 0 afterwards.

    >>> [round(cosine(e, 4), 4) for e in (0, 1, 2, 4, 9)]
    [1.0, 0.8536, 0.5, 0.0, 0.0]
    """
    return (1 + math.cos(math.pi * min(epoch / epochs, 1.0))) / 2 if epochs > 0 else 0.0


def clipped_cosine(epoch: float, epochs: float, floor: float) -> float:
    """The cosine, held at ``floor`` (a share of the first rate) once it has fallen below.

    Source: Huang et al. 2023, arXiv 2110.14160.
    """
    return max(cosine(epoch, epochs), floor)


def polynomial(epoch: float, epochs: float, power: float = 0.9) -> float:
    """``(1 - epoch / epochs) ** power``: from 1 to 0; 0 afterwards."""
    return float(max(1 - epoch / epochs, 0.0) ** power) if epochs > 0 else 0.0


def schedule(
    name: ScheduleName,
    *,
    epochs: int,
    steps_per_epoch: int = 1,
    per: Literal["epoch", "step"] = "epoch",
    warmup: int = 0,
    lr: float = 1e-3,
    min_lr: float = 1e-4,
    milestones: Sequence[float] = (),
    gamma: float | None = None,
    power: float = 0.9,
) -> Callable[[int], float]:
    """A factor of the learning rate as a function of the optimiser's step, for ``torch.optim.lr_scheduler.LambdaLR``.

    Args:
        name: of the main schedule.
        epochs: length of the training, warm-up included.
        steps_per_epoch: optimiser steps an epoch; 1 if the scheduler itself is stepped once an epoch.
        per: change the rate with every epoch (as the published systems do) or with every step.
        warmup: epochs in which the rate rises in a line to its full value (reached in the last of them); the main
            schedule starts after it and takes the epochs that are left.
        lr: first rate; only its ratio to ``min_lr`` counts.
        min_lr: lowest rate of ``clipped_cosine``.
        milestones: epochs after the warm-up at which ``multi_step`` falls.
        gamma: factor of ``multi_step`` (0.1) or, per epoch, of ``exponential`` (0.9).
        power: of ``polynomial``.

    Raises:
        RecipeError: an unknown name, or settings that make no sense.

    >>> rate = schedule("cosine", epochs=10, warmup=2)
    >>> [round(rate(e), 3) for e in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if name not in get_args(ScheduleName):
        names = get_args(ScheduleName)
        raise RecipeError(f"unknown schedule '{name}'{nearest(name, names)}", do=f"use one of {', '.join(names)}")
    if epochs < 1 or steps_per_epoch < 1 or not 0 <= warmup <= epochs:
        raise RecipeError(
            f"{epochs} epochs of {steps_per_epoch} steps with {warmup} of warm-up",
            where="schedule",
            do="the warm-up must fit into the epochs, and both other numbers be at least 1",
        )
    if lr <= 0 or min_lr < 0 or (name == "clipped_cosine" and min_lr > lr):
        raise RecipeError(
            f"min_lr {min_lr:g} for a learning rate of {lr:g}", where="schedule", do="use 0 <= min_lr <= lr"
        )
    length = epochs - warmup
    main: dict[str, Callable[[float], float]] = {
        "constant": lambda epoch: 1.0,
        "multi_step": lambda epoch: multi_step(epoch, milestones, 0.1 if gamma is None else gamma),
        "exponential": lambda epoch: exponential(epoch, 0.9 if gamma is None else gamma),
        "cosine": lambda epoch: cosine(epoch, length),
        "clipped_cosine": lambda epoch: clipped_cosine(epoch, length, min_lr / lr),
        "polynomial": lambda epoch: polynomial(epoch, length, power),
    }

    def factor(step: int) -> float:
        epoch = step // steps_per_epoch if per == "epoch" else step / steps_per_epoch
        if epoch < warmup:
            return (epoch + (1 if per == "epoch" else 1 / steps_per_epoch)) / warmup
        return main[name](epoch - warmup)

    return factor
