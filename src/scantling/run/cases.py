"""What one value of a mask metric stands for: an image, or a volume of slices; and the size of its pixels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scantling.core.errors import DataError
from scantling.data.readers import read_picture

if TYPE_CHECKING:
    from scantling.data.manifest import Manifest
    from scantling.data.preprocess import Preprocess

_SPACED = (".nii", ".nii.gz", ".dcm", ".dicom")
"""Suffixes of files that know the size of their pixels."""


@dataclass(frozen=True)
class Case:
    """One image or one volume.

    Args:
        positions: in the list of evaluated rows, in the order of the slices; one for an image.
        spacing: millimetres between slices (of a volume), rows and columns of the prepared image; None where unknown.
    """

    positions: tuple[int, ...]
    spacing: tuple[float, ...] | None

    @property
    def volume(self) -> bool:
        """Whether it has slices."""
        return len(self.positions) > 1


def cases_of(manifest: Manifest, rows: Sequence[int], preprocess: Preprocess) -> list[Case]:
    """The cases that rows of a manifest make up, in the order of their first rows.

    Slices of one NIfTI or DICOM file that follow one another without a gap are one volume where the file says how far
    they lie apart. Frames of arrays, of films and of other files are images of their own.

    Args:
        manifest: the images.
        rows: that are evaluated.
        preprocess: how they became the pixels that are compared.

    Raises:
        DataError: an image that cannot be read.
    """
    files: dict[tuple[str, str | None, int], list[tuple[int, int]]] = {}
    for position, row in enumerate(rows):
        path, part = manifest.path(row)
        frame = manifest.frame(row)
        sliced = frame is not None and path.name.lower().endswith(_SPACED)
        # Images of their own get a key of their own.
        files.setdefault((str(path), part, -1 if sliced else position), []).append((frame or 0, position))
    groups = [sorted(group) for group in files.values()]

    def look(group: list[tuple[int, int]]) -> list[Case]:
        between, spacing = _geometry(manifest, rows[group[0][1]], preprocess)
        if len(group) > 1 and between is not None and _follow(group):
            return [Case(tuple(p for _, p in group), None if spacing is None else (between, *spacing))]
        return [Case((p,), spacing) for _, p in group]

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return sorted((case for found in pool.map(look, groups) for case in found), key=lambda case: case.positions[0])


def _follow(group: list[tuple[int, int]]) -> bool:
    frames = np.array([frame for frame, _ in group])
    return bool((np.diff(frames) == 1).all())


def _geometry(manifest: Manifest, row: int, preprocess: Preprocess) -> tuple[float | None, tuple[float, float] | None]:
    """Millimetres between the slices of a row's file, and between rows and columns of its prepared image."""
    given = manifest.spacing(row)
    path, part = manifest.path(row)
    if given is None and not path.name.lower().endswith(_SPACED):
        return None, None
    try:
        picture = read_picture(path, part, manifest.frame(row))
    except DataError as error:
        raise DataError(error.what, where=error.where or path, do=error.do) from None
    spacing, between = given or picture.spacing, picture.info.get("between_slices")
    if spacing is None:
        return between, None
    placed = preprocess.placement(picture)
    left, top, right, bottom = placed.box
    down, across = (bottom - top) / placed.place[2], (right - left) / placed.place[3]
    return between, (spacing[0] * down, spacing[1] * across)
