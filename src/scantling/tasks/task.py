"""What every task shares: a LightningModule that owns model, objective and metrics, and repeats itself exactly.

All randomness of a step comes from a seed of (run, epoch, step, process), so that a run which was killed and resumed
takes the very steps that it would have taken.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from scantling.nets import torchvision_ops  # noqa: F401  (must run before lightning imports torchvision)

from lightning.pytorch import LightningModule  # isort: skip

from scantling.core.batch import IMAGE, INDEX, LABEL, as_float
from scantling.core.build import import_object
from scantling.core.bundle import put_learned
from scantling.core.errors import RecipeError, TrainingError
from scantling.core.seams import Adapter, Inputs, Mixer, Objective, Policy
from scantling.tasks.gather import gather_rows
from scantling.tasks.optim import OptimizerSettings, ScheduleSettings

if TYPE_CHECKING:
    import numpy as np
    from tensordict import TensorDict

    from scantling.core.target import Target
    from scantling.data.images import ImageSource
    from scantling.data.manifest import Manifest

AdapterFactory = Callable[[int, Inputs], Adapter]


class Task(LightningModule, ABC):
    """A model, its objective and its metrics; tells the trainer how to step.

    Args:
        adapter: the network, by class and settings; how many outputs it has and how large its images are is told later.
        objective: the loss; left out, the target's own.
        mixer: mixes the samples of a training batch; left out, none does.
        optimizer: the optimiser.
        schedule: the learning rate over time.
        ema_decay: keep an exponential moving average of the weights with this decay, and evaluate it; 0 for none.
    """

    def __init__(
        self,
        adapter: AdapterFactory,
        objective: Objective | None = None,
        mixer: Mixer | None = None,
        optimizer: OptimizerSettings | None = None,
        schedule: ScheduleSettings | None = None,
        ema_decay: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0.0 <= ema_decay < 1.0:
            raise RecipeError(f"a decay of {ema_decay:g}", where="task.ema_decay", do="use 0 (off) up to below 1")
        self.factory = adapter
        self.given_objective = objective
        self.objective: Objective
        self.mixer = mixer
        self.optimizer_settings = optimizer or OptimizerSettings()
        self.schedule_settings = schedule or ScheduleSettings()
        self.ema_decay = ema_decay
        self.policy: Policy | None = None
        self.preprocess: Any = None
        self.channels_last = False
        self.seed = 0
        self.steps_per_epoch = 1
        self.target: Target
        self.adapter: Adapter
        self.averaged: Adapter | None = None
        self._collected: list[dict[str, Tensor]] = []

    def build(self, target: Target, inputs: Inputs, class_counts: Tensor | None = None, seed: int = 0) -> None:
        """Make the network for this target and these images; must be called once before training.

        Args:
            target: what is predicted.
            inputs: the images.
            class_counts: training samples per class ``(K,)``, for losses that weigh classes.
            seed: of the network's first weights and of every step.
        """
        self.target, self.seed = target, seed
        given = self.given_objective
        self.objective = import_object(target.objective, Objective)() if given is None else given
        self.objective.configure(target, class_counts)
        if self.mixer is not None:
            self.mixer.configure(target, inputs, class_counts)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.adapter = self.factory(self.objective.outputs_for(target), inputs)
        if self.channels_last:
            self.adapter.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.ema_decay:
            self.averaged = copy.deepcopy(self.adapter).requires_grad_(False).eval()

    def manifest_to_use(self, manifest: Manifest) -> Manifest:
        """The manifest as this task reads it, before anything is divided or read."""
        return manifest

    def survey(self, manifest: Manifest, images: ImageSource, rows: Tensor, seed: int = 0) -> None:
        """Look at the data once, before :meth:`build`.

        Args:
            manifest: of all images.
            images: of all rows.
            rows: those of the training split, ``(n,)``.
            seed: of the run.
        """

    def rows_to_use(self, labels: Tensor) -> Tensor:
        """Which images ``(n,)`` bool take part in training and validation, by their labels ``(n,)`` or ``(n, K)``."""
        return torch.ones(len(labels), dtype=torch.bool)

    def conclude(self, batches: Iterable[TensorDict]) -> tuple[Tensor, Tensor] | None:
        """Fit to held-out batches, after training, what is not the temperature of their labels.

        Returns:
            Outputs and labels to measure; None where the labels of the images serve.
        """
        return None

    def loader_options(self) -> dict[str, Any]:
        """Further options of the training loader, known after :meth:`survey`."""
        return {}

    def epoch_length(self, rows: Tensor) -> int:
        """How many indices the loader divides into batches, for these training rows."""
        return len(rows)

    def remarks(self) -> Sequence[str]:
        """What the user should know after :meth:`conclude`."""
        return ()

    def attachments(self) -> Mapping[str, str]:
        """Further text files of the bundle, by name."""
        return {}

    @property
    def wants(self) -> tuple[str, ...]:
        """Batch fields that the adapter reads beyond the image."""
        return self.adapter.wants

    @property
    def serving(self) -> Adapter:
        """The network to evaluate and to keep: the averaged one, where there is one."""
        return self.adapter if self.averaged is None else self.averaged

    def kept_state(self) -> dict[str, Tensor]:
        """Tensors of the network to keep, without a frozen one below, and of the objective, as a bundle has them."""
        state = {f"adapter.{k}": v for k, v in self.serving.learned_state().items()}
        state |= {f"objective.{k}": v for k, v in self.objective.state_dict().items()}
        return {k: v.detach().cpu().clone().contiguous() for k, v in state.items()}

    def load_kept_state(self, state: dict[str, Tensor]) -> None:
        """Put tensors of :meth:`kept_state` into the network and the objective.

        Raises:
            RuntimeError: tensors that do not fit.
        """
        put_learned(self.serving, self.objective, state)

    @abstractmethod
    def collect(self, outputs: Tensor, batch: TensorDict) -> dict[str, Tensor]:
        """What validation keeps of a batch, each ``(B, ...)`` with ``index (B,)``."""

    @abstractmethod
    def summarise(self, rows: dict[str, Tensor]) -> dict[str, float]:
        """Validation figures by name, from everything that was kept."""

    def training_step(self, batch: TensorDict, batch_idx: int) -> Tensor:
        """Loss of a batch, after augmentation and mixing on the device."""
        generator = torch.Generator().manual_seed(self.step_seed(batch_idx))
        torch.manual_seed(self.step_seed(batch_idx) + 1)
        loss = self.step_loss(batch, generator)
        self.check_finite(loss, batch_idx)
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(batch), prog_bar=False)
        return loss

    def step_loss(self, batch: TensorDict, generator: torch.Generator) -> Tensor:
        """Scalar loss of a batch as the loader gives it."""
        batch = self.augment(batch, generator)
        return self.objective.loss(self.run_adapter(batch), batch)

    def run_adapter(self, batch: TensorDict) -> Tensor:
        """Outputs for an augmented batch, with what the mixer puts round the network."""
        if self.channels_last:
            batch[IMAGE] = batch[IMAGE].contiguous(memory_format=torch.channels_last)
        with nullcontext() if self.mixer is None else self.mixer.around(self.adapter, batch):
            outputs: Tensor = self.adapter(batch)
        return outputs

    def augment(self, batch: TensorDict, generator: torch.Generator) -> TensorDict:
        """The batch that is learned from, images float32 in [0, 1]: first the policy, then the mixer."""
        if self.policy is not None:
            batch = self.policy(batch, generator)
        batch = as_float(batch)
        return batch if self.mixer is None else self.mixer(batch, generator)

    def on_train_start(self) -> None:
        """A run that goes on inside an epoch begins no epoch: its losses and mixers hear of it here."""
        self.on_train_epoch_start()

    @torch.no_grad()
    def on_train_epoch_start(self) -> None:
        """Losses and mixers that change over time hear of the new epoch."""
        epochs = int(self.trainer.max_epochs or 1)
        self.objective.set_epoch(self.current_epoch, epochs)
        if self.mixer is not None:
            self.mixer.set_epoch(self.current_epoch, epochs)

    def validation_step(self, batch: TensorDict, batch_idx: int) -> None:
        """Outputs of a batch, kept until the epoch ends."""
        batch = as_float(batch)
        outputs = self.serving(batch)
        self._collected.append({k: v.detach() for k, v in self.collect(outputs, batch).items()})

    def on_validation_epoch_end(self) -> None:
        """Figures over the whole validation set, each image counted once, whatever the number of processes."""
        collected, self._collected = self._collected, []
        if not collected:
            return
        rows = {k: torch.cat([c[k] for c in collected]) for k in collected[0]}
        rows = {k: gather_rows(v) for k, v in rows.items()}
        order = rows[INDEX].argsort()
        rows = {k: v[order].cpu() for k, v in rows.items()}
        for name, value in self.summarise(rows).items():
            self.log(f"val_{name}", value, rank_zero_only=False, batch_size=1)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """One step, after which the averaged weights follow."""
        super().optimizer_step(*args, **kwargs)
        if self.averaged is not None:
            follow(self.averaged, self.adapter, self.ema_decay)

    def configure_optimizers(self) -> Any:
        """Optimiser and schedule for the parameters that learn, the objective's own among them."""
        optimizer = self.optimizer_settings.build(self.learnable())
        scheduler = self.schedule_settings.build(
            optimizer, self.optimizer_settings.rate, int(self.trainer.max_epochs or 1), self.steps_per_epoch
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def learnable(self) -> list[tuple[str, nn.Parameter]]:
        """Names and parameters that the optimiser moves: the network's, and the objective's own."""
        own = ((f"objective.{n}", p) for n, p in self.objective.named_parameters() if p.requires_grad)
        return [*self.adapter.learnable(), *own]

    def step_seed(self, step: int) -> int:
        """Seed of one step in this process; a function of run, epoch and step alone."""
        epoch, rank = (self.current_epoch, self.global_rank) if self._trainer is not None else (0, 0)
        words = torch.tensor([self.seed + 1, epoch + 1, step + 1, rank + 1], dtype=torch.int64)
        primes = torch.tensor([1_000_003, 7_919_861, 104_729, 15_485_863], dtype=torch.int64)
        return int((words * primes).sum() % (2**62))

    def check_finite(self, loss: Tensor, step: int) -> None:
        """Stop before a loss that is no number spoils the weights.

        Raises:
            TrainingError: the loss is NaN or infinite.
        """
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss.item()}",
                where=f"epoch {self.current_epoch + 1}, step {step + 1}",
                do="lower task.optimizer.lr or set trainer.gradient_clip_val; the last checkpoint is kept",
            )

    def labels_to_numpy(self, rows: dict[str, Tensor]) -> np.ndarray:
        """Collected labels as the metrics take them."""
        return rows[LABEL].numpy()


def follow(averaged: nn.Module, live: nn.Module, decay: float) -> None:
    """Move averaged parameters towards the live ones: ``a = decay * a + (1 - decay) * p``; buffers are copied."""
    with torch.no_grad():
        target: list[Tensor] = list(averaged.parameters())
        source: list[Tensor] = list(live.parameters())
        torch._foreach_lerp_(target, source, 1.0 - decay)
        for a, b in zip(averaged.buffers(), live.buffers(), strict=True):
            a.copy_(b)
