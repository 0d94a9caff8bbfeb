"""What policies of operations share: the fields of a batch."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from scantling.augment.policy.apply import Drawn, apply_drawn
from scantling.augment.policy.framing import Frame
from scantling.core.batch import FELLOW_IMAGE, IMAGE, MAPS, MASK
from scantling.core.recycling import Recycler
from scantling.core.seams import Policy

if TYPE_CHECKING:
    import torch
    from tensordict import TensorDict
    from torch import Tensor


class OperationPolicy(Policy):
    """Draws operations for every image, and applies them on the batch's device.

    Masks and maps take the geometry of their image. A fellow image is augmented by random numbers of its own.
    """

    def __init__(self) -> None:
        self._memory = Recycler()

    @abstractmethod
    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> tuple[Drawn, Frame | None]:
        """What is done to ``count`` images of ``size`` (height, width), and what is seen of them."""

    def __call__(self, batch: TensorDict, generator: torch.Generator) -> TensorDict:
        """A batch of the same fields, images float32 in [0, 1]; it is not changed.

        Args:
            batch: with ``image (B, C, H, W)``, float in [0, 1] or uint8; optionally ``mask (B, H, W)``, maps and
                ``fellow_image``.
            generator: on the CPU or on the batch's device. But for noise, a CPU generator gives the same augmentation
                on any device.
        """
        out = batch.copy()
        moved = {name: batch[name] for name in (MASK, *MAPS) if name in batch.keys()}
        out[IMAGE], moved = self._augment(batch[IMAGE], moved, generator)
        for name, field in moved.items():
            out[name] = field if name == MASK or field.is_floating_point() else field.float().div_(255)
        if FELLOW_IMAGE in batch.keys():
            out[FELLOW_IMAGE] = self._augment(batch[FELLOW_IMAGE], {}, generator)[0]
        return out

    def _augment(
        self, images: Tensor, moved: dict[str, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        size = (images.shape[-2], images.shape[-1])
        drawn, frame = self.draw(len(images), size, generator)
        shape = (*images.shape[:2], *(size if frame is None else frame.size))
        out = self._memory.empty(shape) if images.device.type == "cpu" else None
        return apply_drawn(images, moved, drawn, frame, out)
