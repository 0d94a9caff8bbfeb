"""Who is mixed with whom: another row of the same batch, or the row that a second sampler drew for the same place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.core.batch import FROZEN_KEYS, FROZEN_VALUES, IMAGE, IMAGES
from scantling.core.errors import RecipeError

if TYPE_CHECKING:
    from tensordict import TensorDict


def paired_rows(rows: int, partners: str | None, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows of a batch and the rows that they are mixed with, on the CPU.

    Args:
        rows: of the batch.
        partners: the second sampler, whose rows are the batch's second half; None: partners come from the batch itself,
            by a random cycle through all of it, so that no row (of at least two) is its own partner.
        generator: on the CPU.

    Returns:
        Positions ``(B,)`` and ``(B,)`` int64.

    >>> paired_rows(4, "class_balanced", torch.Generator())
    (tensor([0, 1]), tensor([2, 3]))
    """
    if partners is not None:
        return torch.arange(rows // 2), torch.arange(rows // 2, rows)
    order = torch.randperm(rows, generator=generator)
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    return torch.arange(rows), other


def refuse_other_looks(batch: TensorDict) -> None:
    """Stop before the image is mixed and another look at it, that the network also reads, is not.

    Raises:
        RecipeError: the batch has another eye's image or features of a frozen network.
    """
    others = [name for name in (*IMAGES, FROZEN_KEYS, FROZEN_VALUES) if name != IMAGE and name in batch.keys()]
    if others:
        raise RecipeError(
            f"only the image can be mixed, and the network also reads {' and '.join(others)}",
            where="task.mixer",
            do="train without a mixer, or use an adapter that looks at the image alone",
        )
