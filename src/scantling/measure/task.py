"""MeasureBiometry: learns plane and outline, and is judged by what it measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from scantling.core.batch import INDEX, LABEL, MASK
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs, Mixer, Objective
from scantling.measure.frames import Frame, frames_of
from scantling.measure.planes import measure_planes
from scantling.measure.truth import TRUTHS, true_lengths
from scantling.tasks.objectives.plane_and_mask import PlaneAndMask
from scantling.tasks.optim import OptimizerSettings, ScheduleSettings
from scantling.tasks.task import AdapterFactory, Task

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.core.target import Target
    from scantling.data.images import ImageSource
    from scantling.data.manifest import Manifest


class MeasureBiometry(Task):
    """Predicts the standard plane and the outline of what is measured in it; validation measures it.

    Args:
        adapter: the network, by class and settings; how many outputs it has and how large its images are is told later.
        objective: the loss; left out, PlaneAndMask.
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
        super().__init__(adapter, objective, mixer, optimizer, schedule, ema_decay)
        self._manifest: Manifest | None = None
        self._frames: dict[int, Frame] = {}
        self._truth: dict[int, float] = {}

    def survey(self, manifest: Manifest, images: ImageSource, rows: Tensor, seed: int = 0) -> None:
        """Keep the manifest: sizes of pixels and true lengths of the validation images come from it."""
        self._manifest = manifest

    def build(self, target: Target, inputs: Inputs, class_counts: Tensor | None = None, seed: int = 0) -> None:
        super().build(target, inputs, class_counts, seed)
        if not isinstance(self.objective, PlaneAndMask):
            what = f"{type(self.objective).__name__} knows no planes"
            raise RecipeError(what, where="task.objective", do="use PlaneAndMask")
        if self._manifest is not None and self.preprocess is not None:
            self._look(self._manifest)

    def _look(self, manifest: Manifest) -> None:
        """Frames and the main true length of every validation image."""
        rows = manifest.split("val")
        planes = self.target.encode(manifest.table)[rows]
        frames = frames_of(manifest, rows.tolist(), self.preprocess)
        truth = true_lengths(manifest, rows.tolist(), planes, self.target, frames)
        spaced = any(frame.spacing is not None for frame in frames)
        self._frames = dict(zip(rows.tolist(), frames, strict=True))
        for i, (row, plane) in enumerate(zip(rows.tolist(), planes.tolist(), strict=True)):
            if plane >= 0 and (frames[i].spacing is not None or not spaced):
                self._truth[row] = float(truth[TRUTHS[self.target.names[plane]][0]][i])

    def collect(self, outputs: Tensor, batch: TensorDict) -> dict[str, Tensor]:
        """Per image: pixels in both masks, in the prediction, in the truth (-1 without one); plane right or not, and
        error of the main length, NaN where not known; the plane; the loss."""
        objective = self.objective
        assert isinstance(objective, PlaneAndMask)
        found = objective.decode(outputs)
        called = objective.called(found)[:, 0]
        rows = len(batch)
        label = batch[LABEL] if LABEL in batch else torch.full((rows,), -1, device=called.device)
        nothing = torch.full_like(called, -1, dtype=torch.int64)
        mask = batch.get(MASK, nothing)
        known = mask >= 0
        drawn = objective.drawn(mask)[:, 0]
        none = ~known.flatten(1).any(1)
        right = (objective.planes(found).argmax(1) == label).double()
        loss = torch.stack([objective.loss(outputs[i : i + 1], batch[i : i + 1]) for i in range(rows)])
        return {
            "both": (called & drawn & known).sum((1, 2)),
            "predicted": (called & known).sum((1, 2)),
            "true": drawn.sum((1, 2)).masked_fill(none, -1),
            "right": right.masked_fill(label < 0, torch.nan),
            "error": torch.from_numpy(self._errors(found[:, 0], label, batch[INDEX])).to(called.device),
            "plane": label,
            "loss": loss.detach(),
            INDEX: batch[INDEX],
        }

    def _errors(self, masks: Tensor, label: Tensor, index: Tensor) -> np.ndarray:
        """Absolute error of the main length ``(B,)``, measured as what the image truly shows; NaN without a truth."""
        out = np.full(len(masks), np.nan)
        truth = np.array([self._truth.get(row, np.nan) for row in index.tolist()])
        rows = np.flatnonzero(np.isfinite(truth))
        if not len(rows):
            return out
        values = np.zeros((len(rows), *masks.shape[1:]), dtype=np.float32)
        planes, spacing = [], np.ones((len(rows), 2))
        for k, i in enumerate(rows.tolist()):
            frame = self._frames[int(index[i])]
            top, left, height, width = frame.placement.place
            inside = slice(top, top + height), slice(left, left + width)
            values[k][inside] = masks[i].float().cpu().numpy()[inside]
            planes.append(self.target.names[int(label[i])])
            # Without a spacing the truth is in pixels of the original.
            spacing[k] = frame.prepared_spacing or Frame(frame.placement, (1.0, 1.0)).prepared_spacing
        found = measure_planes(values, planes, spacing, keep_doubtful=True)
        lengths = np.array([row.get(TRUTHS[plane][0], np.nan) for row, plane in zip(found, planes, strict=True)])
        # What cannot be measured, or only absurdly, is wrong by the whole length: a few wild fits must not decide.
        out[rows] = np.fmin(np.abs(lengths - truth[rows]), truth[rows])
        return out

    def summarise(self, rows: dict[str, Tensor]) -> dict[str, float]:
        """Mean loss; mean absolute error of the main lengths, in millimetres where pixel sizes are known, of all images
        and of each plane, an image counting with its whole length at most, and so without a measurement; Dice; plane
        accuracy."""
        both, predicted, true = (rows[k].double() for k in ("both", "predicted", "true"))
        total = predicted + true
        dice = torch.where((true >= 0) & (total > 0), 2 * both / total.clamp(min=1), torch.nan)
        found = {
            "loss": float(rows["loss"].mean()),
            "mae": float(rows["error"].nanmean()),
            "dice": float(dice.nanmean()),
            "plane_accuracy": float(rows["right"].nanmean()),
        }
        if self.target.size > 1:
            for number, name in enumerate(self.target.names):
                errors = rows["error"][rows["plane"] == number]
                found[f"mae_{name}"] = float(errors.nanmean()) if len(errors) else float("nan")
        return {name: value for name, value in found.items() if name in ("loss", "mae") or not np.isnan(value)}
