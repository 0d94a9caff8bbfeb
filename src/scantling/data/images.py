"""What a loader asks of the place where images are kept, and the simplest such place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from tensordict import TensorDict
from torch import Tensor

from scantling.core.errors import DataError, nearest


class ImageSource(Protocol):
    """The fields of the rows of a manifest, by position: a ``Store``, a ``Direct`` reader, or :class:`Held`."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields."""

    def __len__(self) -> int: ...

    def gather(self, rows: Tensor, fields: Sequence[str] | None = None) -> TensorDict:
        """The fields of ``rows (B,)`` int64, in that order; all of them, or those named."""


class Held:
    """The image source that a ``TensorDict`` is, in memory or mapped from files.

    Args:
        data: batch size ``[N]``; row i holds the fields of row i of the manifest.
    """

    def __init__(self, data: TensorDict) -> None:
        self.data = data

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields."""
        return tuple(map(str, self.data.keys()))

    def __len__(self) -> int:
        return int(self.data.batch_size[0])

    def gather(self, rows: Tensor, fields: Sequence[str] | None = None) -> TensorDict:
        """The fields of ``rows (B,)`` int64, in that order, each by one read; all of them, or those named.

        Raises:
            DataError: a field that is not there.
        """
        names = check_fields(fields, self.fields)
        return TensorDict({name: _take(self.data.get(name), rows) for name in names}, batch_size=[len(rows)])


def check_fields(wanted: Sequence[str] | None, present: Sequence[str]) -> Sequence[str]:
    """The fields wanted, all of which must be present; None means all.

    Raises:
        DataError: a field that is not there.
    """
    for name in wanted or ():
        if name not in present:
            raise DataError(
                f"no field '{name}'{nearest(name, present)}",
                where="images",
                do=f"there are {', '.join(present)}; masks come from the manifest, other fields from derivations",
            )
    return present if wanted is None else wanted


def _take(values: Tensor, rows: Tensor) -> Tensor:
    """``values[rows]`` on the calling thread alone, so that reading ahead leaves torch's threads to the training."""
    if values.dtype == torch.bfloat16:
        return values.index_select(0, rows)
    return torch.from_numpy(values.numpy().take(rows.numpy(), axis=0))
