"""Which pixels a manifest means: the files behind its rows, and a fingerprint that changes when one of them does."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from scantling.data.manifest import Manifest

Stamp = tuple[int, int] | None
"""Size in bytes and time of the last change in nanoseconds of a file; None where there is no file."""


class Source(NamedTuple):
    """An image or a mask: a file, a part of it, a frame of that, and the file's stamp."""

    path: str
    part: str | None
    frame: int | None
    stamp: Stamp


class Reference(NamedTuple):
    """What one row of a manifest refers to.

    Args:
        image: the image.
        masks: nothing, one file of classes or bits, or one file a structure, None for a structure that was not drawn.
        roi: the field of view: pixels outside it have no class.
    """

    image: Source
    masks: tuple[Source | None, ...] = ()
    roi: Source | None = None


def references(manifest: Manifest) -> list[Reference]:
    """The files of every row, looked at now.

    A mask takes the row's frame when it lies in a container (``.npz``, ``.nii``) or has the suffix of its image; other
    masks are single pictures.
    """
    table = manifest.table
    look = _Looker(manifest.folder)
    frames = _cells(table, "frame") if "frame" in table else [None] * len(table)
    images = [look(cell, frame) for cell, frame in zip(_cells(table, "image"), frames)]
    if not has_masks(manifest):
        return [Reference(image) for image in images]

    def beside(column: str) -> list[Source | None]:
        return [c and look(c, image.frame, image.path) for c, image in zip(_cells(table, column), images)]

    drawn = list(zip(*(beside(column) for column in mask_columns(manifest)), strict=True))
    masks = [row if any(row) else () for row in drawn]
    regions = beside("roi") if "roi" in table else [None] * len(images)
    return [Reference(*row) for row in zip(images, masks, regions, strict=True)]


def mask_columns(manifest: Manifest) -> list[str]:
    """The columns of mask files that the target is drawn in: one a structure where there are such, else ``mask``."""
    target = manifest.target
    columns = [f"mask:{name}" for name in target.names] if target.kind == "masks" else []
    if columns and all(column in manifest.table for column in columns):
        return columns
    return ["mask"] if "mask" in manifest.table else []


def has_masks(manifest: Manifest) -> bool:
    """Whether any row names a mask."""
    return any(bool(manifest.table[column].notna().any()) for column in mask_columns(manifest))


def mask_classes(manifest: Manifest) -> int:
    """Values that a mask of one file may hold: the target's classes, ``2^K`` sums of bits for K structures that may
    overlap, or two when the target is no mask."""
    target = manifest.target
    return 2**target.size if target.kind == "masks" else target.size if target.kind == "mask" else 2


def fingerprints(rows: Sequence[Reference], num_classes: int) -> np.ndarray:
    """A digest of every row, ``(N, 16)`` uint8; equal digests mean equal pixels before preprocessing."""
    texts = (repr(_described(row, num_classes)) for row in rows)
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts)
    return np.frombuffer(digests, dtype=np.uint8).reshape(len(rows), 16)


def _described(row: Reference, num_classes: int) -> tuple[Any, ...]:
    if row.roi is None and len(row.masks) == 1 and row.masks[0] is not None:
        return (*row.image, *row.masks[0], num_classes)
    return (*row.image, *row.masks, row.roi, num_classes) if row.masks or row.roi else (*row.image,)


class _Looker:
    """Turns cells of a manifest into sources, asking for every file and folder once."""

    def __init__(self, folder: Path) -> None:
        from scantling.data.manifest import CONTAINERS, split_part

        self._containers, self._split = CONTAINERS, split_part
        self._base = str(folder)
        self._folders: dict[str, str] = {}
        self._stamps: dict[str, Stamp] = {}

    def __call__(self, cell: str, frame: int | None, beside: str | None = None) -> Source:
        file, part = self._split(cell)
        folder, name = os.path.split(os.path.join(self._base, file))
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        path = os.path.join(self._folders[folder], name)
        if path not in self._stamps:
            self._stamps[path] = stamp(path)
        framed = beside is None or path.lower().endswith((*self._containers, os.path.splitext(beside)[1].lower()))
        return Source(path, part, frame if framed else None, self._stamps[path])


def _cells(table: pd.DataFrame, column: str) -> list[Any]:
    """The cells of a column, None where empty."""
    return [cell if known else None for cell, known in zip(table[column].tolist(), table[column].notna().tolist())]


def stamp(path: str) -> Stamp:
    """Size and time of change of a file, through links; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
