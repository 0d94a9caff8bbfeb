"""A set of embeddings with their labels, and its rows as unit vectors, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from scantling.core.errors import DataError

_ELEMENTS = 1 << 20
"""Numbers of a block: 8 MiB in double precision, which a processor's cache may hold."""


@dataclass(frozen=True)
class Embedded:
    """Embeddings and the groups that they belong to.

    Args:
        features: ``(N, D)``, any scale, float.
        codes: group of every row, ``(N,)`` int64 in [0, ``num_groups``).
        num_groups: K; groups may be empty.
        centre: ``(D,)``, subtracted before rows are brought to length 1; None subtracts nothing.

    Raises:
        DataError: shapes that do not fit, numbers that are not finite, or a row of length 0.
    """

    features: Tensor
    codes: Tensor
    num_groups: int
    centre: Tensor | None = None

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.codes.shape != self.features.shape[:1]:
            shapes = f"{tuple(self.features.shape)} and {tuple(self.codes.shape)}"
            raise DataError(f"embeddings and labels have the shapes {shapes}", do="give (N, D) and N labels")
        for rows in self.blocks():
            values = self.features[rows]
            bad = ~values.isfinite().all(1)
            if bool(bad.any()):
                raise DataError("an embedding is not finite", where=f"row {rows.start + int(bad.int().argmax())}")
            empty = ~(values.any(1) if self.centre is None else (values - self.centre).any(1))
            if bool(empty.any()):
                raise DataError(
                    "an embedding is zero and has no direction",
                    where=f"row {rows.start + int(empty.int().argmax())}",
                    do="leave the image out, or use another encoder",
                )

    def __len__(self) -> int:
        return len(self.features)

    @property
    def width(self) -> int:
        """D."""
        return self.features.shape[1]

    @property
    def counts(self) -> Tensor:
        """Images of every group ``(K,)`` int64."""
        return torch.bincount(self.codes, minlength=self.num_groups)

    def units(self, rows: Tensor | slice) -> Tensor:
        """Some rows ``(b, D)`` float64, brought to length 1."""
        some = self.features[rows] if isinstance(rows, slice) else self.features.index_select(0, rows)
        values = some.to(torch.float64, copy=isinstance(rows, slice))
        if self.centre is not None:
            values -= self.centre
        return values.mul_(values.norm(dim=1, keepdim=True).reciprocal_())

    def unit_matrix(self, order: Tensor | None = None) -> Tensor:
        """All rows ``(N, D)``, or those of ``order``, at length 1 in single precision, for work pair by pair."""
        rows = torch.arange(len(self), device=self.features.device) if order is None else order
        out = torch.empty(len(rows), self.width, dtype=torch.float32, device=self.features.device)
        done = 0
        for part in pieces(rows, self.width):
            out[done : done + len(part)] = self.units(part)
            done += len(part)
        return out

    def select(self, rows: Tensor) -> Embedded:
        """The set of some rows."""
        return Embedded(self.features[rows], self.codes[rows], self.num_groups, self.centre)

    def blocks(self, size: int | None = None) -> Iterator[slice]:
        """All rows in order, so many at a time that a block stays small."""
        step = size or max(1, _ELEMENTS // max(1, self.width))
        for start in range(0, len(self), step):
            yield slice(start, min(start + step, len(self)))

    def members(self) -> list[Tensor]:
        """Rows of every group, ascending."""
        order = torch.argsort(self.codes, stable=True)
        return list(order.split(self.counts.tolist()))


def pieces(rows: Tensor, width: int) -> tuple[Tensor, ...]:
    """Row numbers cut into blocks of a bounded number of values."""
    return rows.split(max(1, _ELEMENTS // max(1, width))) if len(rows) else ()
