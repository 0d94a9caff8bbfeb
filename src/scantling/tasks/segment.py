"""Segment: for every pixel a class, or the structures that it belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.core.batch import IMAGE, INDEX, LABEL, MAPS, MASK, as_float
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs, Mixer, Objective
from scantling.tasks.objectives.masks import MaskObjective
from scantling.tasks.optim import OptimizerSettings, ScheduleSettings
from scantling.tasks.task import AdapterFactory, Task
from scantling.tasks.windows import slide

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.core.target import Target


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
        foreground: share of the patches that are laid round a pixel of a structure, in [0, 1]; the others lie anywhere.

    Raises:
        RecipeError: a share outside its range.
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
        foreground: float = 0.0,
    ) -> None:
        super().__init__(adapter, objective, mixer, optimizer, schedule, ema_decay)
        if not 0 <= overlap < 1 or not 0 <= foreground <= 1:
            what = f"overlap {overlap:g} and foreground {foreground:g}"
            raise RecipeError(what, where="task", do="use shares from 0; an overlap below 1")
        self.patch_size, self.patches, self.overlap, self.foreground = patch_size, patches, overlap, foreground

    def build(self, target: Target, inputs: Inputs, class_counts: Tensor | None = None, seed: int = 0) -> None:
        super().build(target, inputs, class_counts, seed)
        if not isinstance(self.objective, MaskObjective):
            what = f"{type(self.objective).__name__} draws no masks"
            raise RecipeError(what, where="task.objective", do=f"use {target.objective.rpartition('.')[2]}")

    def augment(self, batch: TensorDict, generator: torch.Generator) -> TensorDict:
        """Patches of augmented images: cut last, so that they hold image, not the empty corners of a rotation."""
        batch = super().augment(batch, generator)
        if self.patch_size is None:
            return batch
        return random_patches(batch, self.patch_size, self.patches, generator, self.foreground)

    def validation_step(self, batch: TensorDict, batch_idx: int) -> None:
        """Pixel counts of every image, through the sliding window."""
        batch = as_float(batch)
        outputs = slide(self.serving, batch, self.patch_size, self.overlap)
        self._collected.append(self.collect(outputs, batch))

    def collect(self, outputs: Tensor, batch: TensorDict) -> dict[str, Tensor]:
        """Per image and structure: pixels in both masks, in the prediction, in the truth; and the loss."""
        objective = self.objective
        assert isinstance(objective, MaskObjective)
        called, drawn = objective.called(objective.decode(outputs)), objective.drawn(batch[MASK])
        known = known_pixels(batch, self.target)
        called, drawn = called & known, drawn & known
        loss = torch.stack([objective.loss(outputs[i : i + 1], batch[i : i + 1]) for i in range(len(batch))])
        return {
            "both": (called & drawn).sum((2, 3)),
            "predicted": called.sum((2, 3)),
            "true": drawn.sum((2, 3)),
            "loss": loss.detach(),
            INDEX: batch[INDEX],
        }

    def conclude(self, batches: Iterable[TensorDict]) -> None:
        """Fit the threshold of every structure that may overlap with others."""
        from scantling.tasks.mask_thresholds import fit_thresholds

        fit_thresholds(self, batches)

    def summarise(self, rows: dict[str, Tensor]) -> dict[str, float]:
        """Mean loss, and the Dice overlap averaged over images and structures that occur."""
        both, predicted, true = (rows[k].double() for k in ("both", "predicted", "true"))
        total = predicted + true
        dice = torch.where(total > 0, 2 * both / total.clamp(min=1), torch.nan)
        return {"loss": float(rows["loss"].mean()), "dice": float(dice.nanmean())}


def known_pixels(batch: TensorDict, target: Target) -> Tensor:
    """Pixels whose truth is known, bool ``(B, S, H, W)`` or ``(B, 1, H, W)``: inside the field of view, and, of
    structures that may overlap, drawn in that image."""
    known = (batch[MASK] >= 0).unsqueeze(1)
    label = batch.get(LABEL, None)
    return known & label.isfinite()[:, :, None, None] if target.kind == "masks" and label is not None else known


def random_patches(
    batch: TensorDict, size: int, patches: int, generator: torch.Generator, foreground: float = 0.0
) -> TensorDict:
    """Square patches of images, masks and maps at random places, ``patches`` of every image.

    Args:
        batch: with ``image (B, C, H, W)`` and ``mask (B, H, W)``.
        size: side in pixels; sides of the image that are shorter are taken whole.
        patches: how many of every image.
        generator: on the CPU.
        foreground: share of patches that are laid round a pixel of a structure, where an image has any.

    Returns:
        A batch of ``B * patches`` samples.
    """
    batch = batch.repeat_interleave(patches) if patches > 1 else batch.clone(recurse=False)
    height, width = batch[IMAGE].shape[-2:]
    h, w = min(size, height), min(size, width)
    n, device = len(batch), batch[IMAGE].device
    top = torch.randint(0, height - h + 1, (n, 1, 1), generator=generator).to(device)
    left = torch.randint(0, width - w + 1, (n, 1, 1), generator=generator).to(device)
    if foreground:
        chance, place = torch.rand(2, n, 1, generator=generator).to(device)
        row, column, found = _drawn_pixel(batch[MASK], place)
        chosen = ((chance < foreground) & found).unsqueeze(2)
        top = torch.where(chosen, (row.unsqueeze(2) - h // 2).clamp(0, height - h), top)
        left = torch.where(chosen, (column.unsqueeze(2) - w // 2).clamp(0, width - w), left)
    rows = top + torch.arange(h, device=device).view(1, h, 1)
    columns = left + torch.arange(w, device=device).view(1, 1, w)
    sample = torch.arange(n, device=device).view(n, 1, 1)
    batch[MASK] = batch[MASK][sample, rows, columns]
    for field in (IMAGE, *MAPS):
        maps = batch.get(field, None)
        if maps is not None:
            batch[field] = maps.permute(0, 2, 3, 1)[sample, rows, columns].permute(0, 3, 1, 2).contiguous()
    return batch


def _drawn_pixel(mask: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Row and column ``(B, 1)`` of one pixel of a structure, drawn by ``place (B, 1)`` in [0, 1), and whether there is
    any ``(B, 1)``."""
    counts = (mask > 0).flatten(1).cumsum(1)
    total = counts[:, -1:]
    wanted = (place * total).floor().to(counts).minimum(total - 1) + 1
    pixel = torch.searchsorted(counts, wanted.clamp(min=1)).clamp(max=counts.shape[1] - 1)
    return pixel // mask.shape[2], pixel % mask.shape[2], total > 0
