"""Saliency from masks that somebody drew, or another network predicted: the best there is, where they exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from scantling.augment.saliency.detector import SaliencyDetector
from scantling.core.batch import MASK
from scantling.core.errors import DataError

if TYPE_CHECKING:
    from tensordict import TensorDict


class FromMask(SaliencyDetector):
    """1 inside the masks of the manifest, 0 outside and where nothing is known.

    The masks move with their images, so that nothing is kept in the store beside them.
    """

    from_images: ClassVar[bool] = False

    def __init__(self) -> None:
        self.settings = {}

    def detect(self, batch: TensorDict) -> Tensor:
        """Maps ``(B, 1, H, W)`` float32, 0 or 1, from ``mask (B, H, W)``.

        Raises:
            DataError: the batch has no masks.
        """
        mask: Tensor | None = batch.get(MASK, None)
        if mask is None:
            raise DataError(
                "saliency from masks, and the images have none",
                where="task.mixer.saliency",
                do="give the manifest a column 'mask', or use scantling.augment.FineGrained",
            )
        return (mask > 0).float().unsqueeze(1)
