"""Classify with a contrast: every training image is seen twice, and features are compared beside the classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from scantling.core.batch import as_float
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs, Mixer, Objective, Policy
from scantling.nets.pooled import classification_head, features_read
from scantling.tasks.classify import Classify
from scantling.tasks.objectives.contrast import Contrast
from scantling.tasks.objectives.cross_entropy import CrossEntropy
from scantling.tasks.optim import OptimizerSettings, ScheduleSettings
from scantling.tasks.task import AdapterFactory

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.core.target import Target


class ClassifyTwoViews(Classify):
    """Predicts grades or classes; in training each image is augmented twice and a contrast compares their features.

    Both views are mixed by the mixer, where there is one, each with draws of its own. Validation, prediction and the
    bundle know nothing of the contrast: they have the network and the objective alone.

    Args:
        adapter: the network, by class and settings, with one linear head; how many outputs it has is told later.
        contrast: the loss on features: GPaCo, or SupervisedContrast.
        second_policy: augmentation of the second view; left out, that of the first, drawn anew.
        objective: the classification loss, CrossEntropy or one of its kind such as BalancedSoftmax.
        mixer: mixes the samples of a training batch and keeps one label an image; left out, none does.
        optimizer: the optimiser.
        schedule: the learning rate over time.
        ema_decay: keep an exponential moving average of the weights with this decay, and evaluate it; 0 for none.
    """

    views_per_image = 2

    def __init__(
        self,
        adapter: AdapterFactory,
        contrast: Contrast,
        second_policy: Policy | None = None,
        objective: Objective | None = None,
        mixer: Mixer | None = None,
        optimizer: OptimizerSettings | None = None,
        schedule: ScheduleSettings | None = None,
        ema_decay: float = 0.0,
    ) -> None:
        super().__init__(adapter, objective, mixer, optimizer, schedule, ema_decay)
        self.contrast = contrast
        self.second_policy = second_policy

    def build(self, target: Target, inputs: Inputs, class_counts: Tensor | None = None, seed: int = 0) -> None:
        """As of every task; the contrast's heads are made for the features of the network.

        Raises:
            RecipeError: an objective that gives no class logits, or a network without a single linear head.
        """
        super().build(target, inputs, class_counts, seed)
        if not isinstance(self.objective, CrossEntropy):
            raise RecipeError(
                f"{type(self.contrast).__name__} cannot be joined with {type(self.objective).__name__}",
                where="task.objective",
                do="use scantling.tasks.objectives.BalancedSoftmax, or another kind of cross-entropy",
            )
        width = classification_head(self.adapter).in_features
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            self.contrast.build(width)

    def on_fit_start(self) -> None:
        """Two views that are the same picture teach nothing.

        Raises:
            RecipeError: no augmentation.
        """
        if self.policy is None and self.second_policy is None:
            raise RecipeError("two views of an image need an augmentation", where="data.policy", do="set one")

    def learnable(self) -> list[tuple[str, nn.Parameter]]:
        """Those of every task, and the contrast's heads."""
        return [*super().learnable(), *((f"contrast.{n}", p) for n, p in self.contrast.named_parameters())]

    def step_loss(self, batch: TensorDict, generator: torch.Generator) -> Tensor:
        """Loss of both views of a batch, seen by the network at once."""
        views = [self._view(batch, policy, generator) for policy in (self.policy, self.second_policy or self.policy)]
        both: TensorDict = torch.cat(views)  # type: ignore[arg-type, assignment]
        with features_read(classification_head(self.adapter)) as taken:
            outputs = self.run_adapter(both)
        loss: Tensor = self.contrast(self.objective, outputs, taken[0], both)
        return loss

    def _view(self, batch: TensorDict, policy: Policy | None, generator: torch.Generator) -> TensorDict:
        """The batch, augmented by a policy and mixed."""
        if policy is not None:
            batch = policy(batch, generator)
        batch = as_float(batch)
        return batch if self.mixer is None else self.mixer(batch, generator)
