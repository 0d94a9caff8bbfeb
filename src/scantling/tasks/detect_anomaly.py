"""Detect anomalies: one score an image, learned from normal images and, where they are wanted, synthetic lesions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scantling.core.anomaly import AnomalyAdapter
from scantling.core.batch import IMAGE, INDEX, LABEL, MASK, SYNTHETIC, as_float
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs, Mixer, Objective, Synthesizer
from scantling.metrics.ranking import binary_areas
from scantling.tasks.objectives.anomaly import AnomalyScore, map_loss
from scantling.tasks.optim import OptimizerSettings, ScheduleSettings
from scantling.tasks.task import AdapterFactory, Task

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.core.target import Target

SYNTHETIC_ROWS = 2**40
"""Added to the row of a normal image: the row of what was synthesised from it."""

HELD_OUT = 0x0A11
"""Added to the seed of a run for the synthetic images of validation, which are the same in every epoch."""

HEAT_QUANTILE = 0.99
"""Parts of normal images below the middle of the heat map."""


class DetectAnomaly(Task):
    """Learns normal images, alone or against synthetic abnormal ones, and puts a threshold on the anomaly score.

    Labels of the manifest are used in evaluation only: abnormal images never enter the training. With a synthesizer
    every normal image of a batch comes twice, as it is and with lesions, so that both classes are equally frequent.

    Args:
        adapter: the network, by class and settings; how many outputs it has and how large its images are is told later.
        objective: the loss; left out, :class:`scantling.tasks.objectives.anomaly.AnomalyScore`.
        mixer: mixes the samples of a training batch; left out, none does.
        optimizer: the optimiser.
        schedule: the learning rate over time.
        ema_decay: keep an exponential moving average of the weights with this decay, and evaluate it; 0 for none.
        synthesizer: makes abnormal images from normal ones; networks that learn from normal images alone need none.
        decoys: share of the normal images of a batch that get pieces of normal images, pasted just like lesions, so
            that the rim of what is pasted tells nothing; in [0, 1].
        map_weight: of the loss of the heat map, which learns where the lesions were put; 0 for none.
        specificity: share of held-out normal images below the threshold, in (0, 1).
    """

    def __init__(
        self,
        adapter: AdapterFactory,
        objective: Objective | None = None,
        mixer: Mixer | None = None,
        optimizer: OptimizerSettings | None = None,
        schedule: ScheduleSettings | None = None,
        ema_decay: float = 0.0,
        synthesizer: Synthesizer | None = None,
        decoys: float = 0.0,
        map_weight: float = 1.0,
        specificity: float = 0.95,
    ) -> None:
        super().__init__(adapter, objective or AnomalyScore(), mixer, optimizer, schedule, ema_decay)
        if not 0 <= decoys <= 1 or map_weight < 0 or not 0 < specificity < 1:
            raise RecipeError(
                "decoys lie in [0, 1], map_weight from 0, specificity in (0, 1)", where="task", do="correct it"
            )
        if not isinstance(self.given_objective, AnomalyScore):
            raise RecipeError("the objective gives no anomaly score", where="task.objective", do="leave it out")
        self.synthesizer, self.decoys = synthesizer, decoys
        self.map_weight, self.specificity = map_weight, specificity
        self._fitted = False

    def build(self, target: Target, inputs: Inputs, class_counts: Tensor | None = None, seed: int = 0) -> None:
        """Make the network and read what the synthesizer pastes.

        Raises:
            RecipeError: a network that needs abnormal images and no synthesizer, or one that detects no anomalies.
        """
        if self.synthesizer is not None:
            self.synthesizer.configure(inputs, self.preprocess)
        super().build(target, inputs, class_counts, seed)
        if not isinstance(self.adapter, AnomalyAdapter):
            raise RecipeError(
                f"{type(self.adapter).__name__} detects no anomalies", where="task.adapter", do="use AnomalyClassifier"
            )
        if self.adapter.needs_abnormal and self.synthesizer is None:
            raise RecipeError(
                "no synthesizer, and the network learns from abnormal images", where="task.synthesizer",
                do="use scantling.augment.LesionPaste or CutPaste",
            )  # fmt: skip

    def rows_to_use(self, labels: Tensor) -> Tensor:
        """Which images ``(n,)`` bool take part in training and validation: all that are not abnormal."""
        return labels <= 0

    def training_step(self, batch: TensorDict, batch_idx: int) -> Tensor | None:  # type: ignore[override]
        """Loss of a batch; none where the network is fitted at once."""
        if self.detector.fitted_at_once:
            return None
        return super().training_step(batch, batch_idx)

    def step_loss(self, batch: TensorDict, generator: torch.Generator) -> Tensor:
        """Loss of a batch of normal images, and of the lesions put into them."""
        batch = self.augment(batch, generator)
        if self.channels_last:
            batch[IMAGE] = batch[IMAGE].contiguous(memory_format=torch.channels_last)
        if not self.detector.needs_abnormal:
            return self.detector.normal_loss(batch).mean()
        outputs, scores = self.detector.outputs_and_map(batch)
        loss = self.objective.loss(outputs, batch)
        if scores is not None and self.map_weight:
            loss = loss + self.map_weight * map_loss(scores, batch[MASK])
        return loss

    def augment(self, batch: TensorDict, generator: torch.Generator) -> TensorDict:
        """Policy, then lesions beside the normal images, then the mixer; 2 B rows with a synthesizer."""
        mixer, self.mixer = self.mixer, None
        try:
            normal = super().augment(batch, generator)
        finally:
            self.mixer = mixer
        if self.synthesizer is not None and self.detector.needs_abnormal:
            abnormal = self.synthesizer(normal, generator)
            if self.decoys:
                chosen = torch.rand(len(normal), generator=generator).to(normal[IMAGE].device) < self.decoys
                decoys = self.synthesizer.decoys(normal, generator)[IMAGE]
                normal = normal.clone(recurse=False)
                normal[IMAGE] = torch.where(chosen.view(-1, 1, 1, 1), decoys, normal[IMAGE])
            both: TensorDict = torch.cat([as_normal(normal), _core(abnormal)])  # type: ignore[assignment]
        else:
            both = as_normal(normal)
        return both if mixer is None else mixer(both, generator)

    @property
    def detector(self) -> AnomalyAdapter:
        """The network that learns."""
        assert isinstance(self.adapter, AnomalyAdapter)
        return self.adapter

    def configure_optimizers(self) -> Any:
        """None where nothing learns step by step."""
        return None if self.detector.fitted_at_once else super().configure_optimizers()

    def on_validation_start(self) -> None:
        """Fit a network that is fitted at once, before it is first validated."""
        if self.detector.fitted_at_once and not self._fitted and not self.trainer.sanity_checking:
            self.detector.fit(self._training_images(), torch.Generator().manual_seed(self.seed))
            self._fitted = True

    def _training_images(self) -> Iterator[TensorDict]:
        """One pass over the training set, images float in [0, 1] on the device."""
        for batch in self.trainer.train_dataloader or ():
            yield as_float(batch.to(self.device))

    def validation_step(self, batch: TensorDict, batch_idx: int) -> None:
        """Outputs of normal images, and of the synthetic ones made from them, the same in every epoch."""
        for part in self.held_out(batch):
            outputs = self.serving(part)
            self._collected.append({k: v.detach() for k, v in self.collect(outputs, part).items()})

    def held_out(self, batch: TensorDict) -> list[TensorDict]:
        """Normal images of a batch and, with a synthesizer, as many abnormal ones."""
        batch = as_float(batch)
        parts = [as_normal(batch)]
        if self.synthesizer is not None:
            abnormal = _core(self.synthesizer.by_row(batch, self.seed + HELD_OUT))
            abnormal[INDEX] = abnormal[INDEX] + SYNTHETIC_ROWS
            parts.append(abnormal)
        return parts

    def collect(self, outputs: Tensor, batch: TensorDict) -> dict[str, Tensor]:
        """Outputs, labels, indices, and the loss of images where it is one of normal images alone."""
        kept = {"outputs": outputs.float(), LABEL: batch[LABEL], INDEX: batch[INDEX]}
        if not self.detector.needs_abnormal and not self.detector.fitted_at_once:
            serving = self.serving
            assert isinstance(serving, AnomalyAdapter)
            kept["loss"] = serving.normal_loss(batch).float()
        return kept

    def summarise(self, rows: dict[str, Tensor]) -> dict[str, float]:
        """Loss, and the area under the ROC curve where there are synthetic images."""
        from tensordict import TensorDict

        outputs, labels = rows["outputs"], rows[LABEL]
        if "loss" in rows:
            figures = {"loss": float(rows["loss"][labels == 0].mean())}
        elif self.detector.needs_abnormal:
            objective = self.objective
            batch = TensorDict({LABEL: labels.to(self.device)}, batch_size=[len(labels)])
            figures = {"loss": float(objective.loss(outputs.to(self.device), batch))}
        else:
            figures = {"loss": float(self.score(outputs)[labels == 0].mean())}
        if bool((labels == 1).any()):
            area, precision = binary_areas(labels.numpy(), self.score(outputs).numpy())
            figures |= {"auroc": float(area), "auprc": float(precision)}
        return figures

    def score(self, outputs: Tensor) -> Tensor:
        """Anomaly scores ``(n,)`` of outputs ``(n, 2)``."""
        assert isinstance(self.objective, AnomalyScore)
        return self.objective.score(outputs)

    @torch.no_grad()
    def conclude(self, batches: Iterable[TensorDict]) -> tuple[Tensor, Tensor]:
        """Set the threshold and the scale of the heat map on held-out images.

        Args:
            batches: of normal images.

        Returns:
            Outputs ``(n, 2)`` and labels ``(n,)`` of the normal images and, with a synthesizer, of synthetic ones.
        """
        serving, objective = self.serving, self.objective
        assert isinstance(serving, AnomalyAdapter) and isinstance(objective, AnomalyScore)
        outputs, labels, parts = [], [], []
        for batch in batches:
            for held in self.held_out(batch.to(self.device)):
                found, scores = serving.outputs_and_map(held)
                outputs.append(found.float().cpu())
                labels.append(held[LABEL].cpu())
                if scores is not None and not bool(held[SYNTHETIC].any()):
                    parts.append(scores.float().cpu().flatten())
        every, label = torch.cat(outputs), torch.cat(labels)
        score = self.score(every)
        objective.calibrate(score[label == 0], score[label == 1], self.specificity)
        if parts and not serving.needs_abnormal:
            values = torch.cat(parts)
            middle = values.kthvalue(max(1, int(HEAT_QUANTILE * len(values)))).values
            serving.calibrate_map(float(middle), float(values.std()))
        return every, label


def as_normal(batch: TensorDict) -> TensorDict:
    """The core of a batch of normal images: ``label`` 0, an empty ``mask``, ``synthetic`` False."""
    out = batch.clone(recurse=False)
    images = out[IMAGE]
    out[LABEL] = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    out[MASK] = torch.zeros(len(images), *images.shape[-2:], dtype=torch.int64, device=images.device)
    out[SYNTHETIC] = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    return _core(out)


def _core(batch: TensorDict) -> TensorDict:
    """The fields that normal and synthetic images have in common."""
    return batch.select(IMAGE, LABEL, MASK, INDEX, SYNTHETIC)
