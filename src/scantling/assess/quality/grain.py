"""A tile of white noise, from which every image takes its own piece: noise without a random number a pixel."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

SIDE = 1024
_SEED = 20221220


@lru_cache(maxsize=4)
def tile(device: torch.device) -> Tensor:
    """Independent standard normal numbers ``(SIDE, SIDE)`` float32."""
    return torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(_SEED)).to(device)


def grain(places: Tensor, size: tuple[int, int]) -> Tensor:
    """Pieces ``(B, 1, H, W)`` of the tile, which repeats beyond its edge.

    Args:
        places: of the pieces' corners, ``(B, 2)`` in [0, 1).
        size: height and width.
    """
    corner = (places * SIDE).long()
    rows = (corner[:, :1] + torch.arange(size[0], device=places.device)) % SIDE
    columns = (corner[:, 1:] + torch.arange(size[1], device=places.device)) % SIDE
    return tile(places.device)[rows[:, :, None], columns[:, None, :]][:, None]
