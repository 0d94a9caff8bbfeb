"""Classify: one label, grade or set of findings an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from scantling.core.batch import INDEX, LABEL
from scantling.metrics.table import METRICS
from scantling.tasks.constant_predictor import constant_predictor_warning
from scantling.tasks.task import Task

if TYPE_CHECKING:
    from tensordict import TensorDict


class Classify(Task):
    """Predicts grades, classes or findings of whole images.

    Args:
        adapter: the network, by class and settings; how many outputs it has and how large its images are is told later.
        objective: the loss; left out, the target's own.
        mixer: mixes the samples of a training batch; left out, none does.
        optimizer: the optimiser.
        schedule: the learning rate over time.
        ema_decay: keep an exponential moving average of the weights with this decay, and evaluate it; 0 for none.
    """

    def collect(self, outputs: Tensor, batch: TensorDict) -> dict[str, Tensor]:
        """Outputs, labels and indices."""
        return {"outputs": outputs.float(), LABEL: batch[LABEL], INDEX: batch[INDEX]}

    def summarise(self, rows: dict[str, Tensor]) -> dict[str, float]:
        """Loss and the target's metrics, from probabilities; metrics without a value are left out."""
        from tensordict import TensorDict

        outputs = rows["outputs"].to(self.device)
        batch = TensorDict({LABEL: rows[LABEL].to(self.device)}, batch_size=[len(outputs)])
        figures = {"loss": float(self.objective.loss(outputs, batch))}
        probabilities = self.objective.decode(outputs).float().cpu()
        if self.target.kind in {"grade", "class"}:
            warning = constant_predictor_warning(probabilities, rows[LABEL], self.target.names)
            if warning and self.current_epoch > 0 and self.trainer.is_global_zero:
                self.print(f"warning: {warning}")
        labels = self.labels_to_numpy(rows)
        for name in self.target.metrics:
            value = float(METRICS[name](labels, probabilities.numpy(), None))
            if np.isfinite(value):
                figures[name] = value
        return figures
