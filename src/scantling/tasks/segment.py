"""Segment: a class for every pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.core.batch import IMAGE, INDEX, MASK, as_float
from scantling.core.seams import Mixer, Objective
from scantling.tasks.optim import OptimizerSettings, ScheduleSettings
from scantling.tasks.task import AdapterFactory, Task
from scantling.tasks.windows import slide

if TYPE_CHECKING:
    from tensordict import TensorDict


class Segment(Task):
    """Predicts a mask for every image; trains on random patches or whole images, looks through a sliding window.

    Args:
        adapter: the network, by class and settings; how many outputs it has and how large its images are is told later.
        objective: the loss; left out, Dice with cross-entropy.
        mixer: mixes the samples of a training batch; left out, none does.
        optimizer: the optimiser.
        schedule: the learning rate over time.
        ema_decay: keep an exponential moving average of the weights with this decay, and evaluate it; 0 for none.
        patch_size: side in pixels of the random training patches and of the sliding window; left out, whole images.
        patches: random patches an image and step.
        overlap: share by which neighbouring windows overlap, in [0, 1).
    """

    def __init__(
        self,
        adapter: AdapterFactory,
        objective: Objective | None = None,
        mixer: Mixer | None = None,
        optimizer: OptimizerSettings | None = None,
        schedule: ScheduleSettings | None = None,
        ema_decay: float = 0.0,
        patch_size: int | None = None,
        patches: int = 1,
        overlap: float = 0.25,
    ) -> None:
        super().__init__(adapter, objective, mixer, optimizer, schedule, ema_decay)
        self.patch_size, self.patches, self.overlap = patch_size, patches, overlap

    def augment(self, batch: TensorDict, generator: torch.Generator) -> TensorDict:
        """Patches of augmented images: cut last, so that they hold image, not the empty corners of a rotation."""
        batch = super().augment(batch, generator)
        if self.patch_size is None:
            return batch
        return random_patches(batch, self.patch_size, self.patches, generator)

    def validation_step(self, batch: TensorDict, batch_idx: int) -> None:
        """Pixel counts of every image, through the sliding window."""
        batch = as_float(batch)
        outputs = slide(self.serving, batch, self.patch_size, self.overlap)
        self._collected.append(self.collect(outputs, batch))

    def collect(self, outputs: Tensor, batch: TensorDict) -> dict[str, Tensor]:
        """Per image and class: pixels in both masks, in the prediction, in the truth; and the loss."""
        predicted, truth = self.objective.decode(outputs).argmax(1), batch[MASK]
        known = truth >= 0
        classes = torch.arange(self.target.size, device=truth.device).view(1, -1, 1, 1)
        hit = (predicted[:, None] == classes) & known[:, None]
        true = truth[:, None] == classes
        loss = torch.stack([self.objective.loss(outputs[i : i + 1], batch[i : i + 1]) for i in range(len(batch))])
        return {
            "both": (hit & true).sum((2, 3)),
            "predicted": hit.sum((2, 3)),
            "true": true.sum((2, 3)),
            "loss": loss.detach(),
            INDEX: batch[INDEX],
        }

    def summarise(self, rows: dict[str, Tensor]) -> dict[str, float]:
        """Mean loss, and the Dice overlap averaged over images and foreground classes that occur."""
        both, predicted, true = (rows[k][:, 1:].double() for k in ("both", "predicted", "true"))
        total = predicted + true
        dice = torch.where(total > 0, 2 * both / total.clamp(min=1), torch.nan)
        return {"loss": float(rows["loss"].mean()), "dice": float(dice.nanmean())}


def random_patches(batch: TensorDict, size: int, patches: int, generator: torch.Generator) -> TensorDict:
    """Square patches of images and masks at random places, ``patches`` of every image.

    Args:
        batch: with ``image (B, C, H, W)`` and ``mask (B, H, W)``.
        size: side in pixels; sides of the image that are shorter are taken whole.
        patches: how many of every image.
        generator: on the CPU.

    Returns:
        A batch of ``B * patches`` samples.
    """
    batch = batch.repeat_interleave(patches) if patches > 1 else batch.clone(recurse=False)
    height, width = batch[IMAGE].shape[-2:]
    h, w = min(size, height), min(size, width)
    n, device = len(batch), batch[IMAGE].device
    top = torch.randint(0, height - h + 1, (n, 1, 1), generator=generator).to(device)
    left = torch.randint(0, width - w + 1, (n, 1, 1), generator=generator).to(device)
    rows = top + torch.arange(h, device=device).view(1, h, 1)
    columns = left + torch.arange(w, device=device).view(1, 1, w)
    sample = torch.arange(n, device=device).view(n, 1, 1)
    image, mask = batch[IMAGE], batch[MASK]
    batch[IMAGE] = image.permute(0, 2, 3, 1)[sample, rows, columns].permute(0, 3, 1, 2).contiguous()
    batch[MASK] = mask[sample, rows, columns]
    return batch
