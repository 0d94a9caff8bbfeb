"""Test-time augmentation: turned, mirrored and resized looks at a batch, and the way back for maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from scantling.core.batch import IMAGES
from scantling.core.errors import RecipeError, nearest

if TYPE_CHECKING:
    from tensordict import TensorDict

Augmentation = Literal["none", "flips", "rotations", "scales"]


@dataclass(frozen=True)
class View:
    """A look at a batch: resized, mirrored where wanted, then turned by so many quarters."""

    turns: int
    mirror: bool
    scale: float = 1.0

    @property
    def quarter(self) -> bool:
        """Whether height and width change places."""
        return self.turns % 2 == 1

    def of(self, batch: TensorDict) -> TensorDict:
        """The batch with all its images seen so."""
        batch = batch.clone(recurse=False)
        for field in IMAGES:
            images = batch.get(field, None)
            if images is not None:
                sides = tuple(max(1, round(side * self.scale)) for side in images.shape[-2:])
                seen = _resized(images, sides).clamp(0, 1) if self.scale != 1 else images
                batch[field] = torch.rot90(seen.flip(-1) if self.mirror else seen, self.turns, (-2, -1))
        return batch

    def undone(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps ``(B, K, H, W)`` of the view, put back in place, at the size of the image."""
        back = torch.rot90(maps, -self.turns, (-2, -1))
        back = back.flip(-1) if self.mirror else back
        return back if tuple(back.shape[-2:]) == size else _resized(back, size)


_MIRRORED = [View(turns, mirror) for turns in (0, 2) for mirror in (False, True)]

VIEWS: dict[str, list[View]] = {
    "none": [View(0, False)],
    "flips": _MIRRORED,
    "rotations": [View(turns, mirror) for turns in range(4) for mirror in (False, True)],
    "scales": _MIRRORED + [View(0, mirror, scale) for scale in (0.75, 1.25) for mirror in (False, True)],
}
"""Test-time augmentations; the first view of each is the image as it is. Scales are for masks."""


def views_of(name: str, square: bool, masks: bool) -> list[View]:
    """The views of a test-time augmentation that images of this form can take.

    Args:
        name: of the augmentation.
        square: whether images are as high as wide; others are not turned by quarters.
        masks: whether masks are predicted: only their networks are sure to take images of other sizes.

    Raises:
        RecipeError: an unknown name, or scales where no masks are predicted.
    """
    check_augmentation(name)
    if name == "scales" and not masks:
        raise RecipeError("scales are for models that predict masks", where="augmentation", do="use flips or rotations")
    return [view for view in VIEWS[name] if square or not view.quarter]


def check_augmentation(name: str) -> None:
    """Raise a RecipeError for a test-time augmentation that does not exist."""
    if name not in VIEWS:
        raise RecipeError(f"no augmentation '{name}'{nearest(name, VIEWS)}", do=f"use one of {', '.join(VIEWS)}")


def _resized(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(maps, list(size), mode="bilinear", align_corners=False, antialias=True)
