"""Several image sources as one: the images of a size, beside what was derived from them at another size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tensordict import TensorDict
from torch import Tensor

from scantling.core.batch import IMAGE
from scantling.core.mirror import mirror
from scantling.data.images import Held, ImageSource, check_fields


@dataclass(frozen=True)
class Part:
    """Fields that come from another source.

    Args:
        source: of the same rows.
        names: name in the batch, and name in the source.
        codes: mirrored forms along the first dimension of these fields; empty for fields without that dimension.
    """

    source: ImageSource
    names: dict[str, str]
    codes: tuple[int, ...] = ()


class Joined:
    """An image source whose rows take some fields from other sources.

    Fields with mirrored forms lose that dimension: a row gives one of its forms.

    Args:
        main: gives ``image`` and everything that no part gives.
        parts: give the rest.
    """

    def __init__(self, main: ImageSource, parts: Sequence[Part]) -> None:
        self.main, self.parts = main, tuple(parts)

    def __len__(self) -> int:
        return len(self.main)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields."""
        return (*self.main.fields, *(name for part in self.parts for name in part.names))

    @property
    def codes(self) -> tuple[int, ...]:
        """Mirrored forms that every row has: 0 as it is, 1 left to right, 2 upside down, 3 both."""
        return next((part.codes for part in self.parts if part.codes), (0,))

    def gather(self, rows: Tensor, fields: Sequence[str] | None = None, forms: Tensor | None = None) -> TensorDict:
        """The fields of ``rows (B,)`` int64, in that order; all of them, or those named.

        Args:
            rows: positions.
            fields: names.
            forms: position in :attr:`codes` of the form that each row gives, ``(B,)`` int64; left out, the first. The
                image itself comes as it is.

        Raises:
            DataError: a field that is not there.
        """
        names = set(check_fields(fields, self.fields))
        out = self.main.gather(rows, [name for name in self.main.fields if name in names])
        for part in self.parts:
            wanted = {new: old for new, old in part.names.items() if new in names}
            if wanted:
                out.update(_gather(part, wanted, rows, torch.zeros_like(rows) if forms is None else forms))
        return out


def mirrored(images: Tensor, codes: Tensor) -> Tensor:
    """``images (B, ..., H, W)``, each mirrored by its code: 0 not, 1 left to right, 2 upside down, 3 both."""
    out = images.clone() if bool(codes.any()) else images
    for code in (1, 2, 3):
        at = codes == code
        if bool(at.any()):
            out[at] = mirror(images[at], code)
    return out


def _gather(part: Part, wanted: dict[str, str], rows: Tensor, forms: Tensor) -> dict[str, Tensor]:
    """Fields of a part under their new names; of a field with mirrored forms only those asked for are read."""
    if not part.codes:
        found = part.source.gather(rows, list(wanted.values()))
        return {new: found[old] for new, old in wanted.items()}
    if isinstance(part.source, Held):
        flat = {old: part.source.data.get(old).flatten(0, 1) for old in wanted.values()}
        all_forms = Held(TensorDict(flat, batch_size=[len(part.source) * len(part.codes)]))
        found = all_forms.gather(rows * len(part.codes) + forms)
        return {new: found[old] for new, old in wanted.items()}
    found = part.source.gather(rows, list(wanted.values()))
    every = torch.arange(len(rows))
    return {new: found[old][every, forms] for new, old in wanted.items()}


def pixels_of(source: ImageSource, field: str) -> Part:
    """The images of a source under another name."""
    return Part(source, {field: IMAGE})
