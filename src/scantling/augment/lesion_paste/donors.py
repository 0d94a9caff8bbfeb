"""Annotated images from files: one picture with its mask, or a manifest of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scantling.augment.lesion_paste.bank import Donor
from scantling.core.errors import DataError

if TYPE_CHECKING:
    from scantling.data.manifest import Manifest
    from scantling.data.preprocess import Preprocess

ONE_TYPE = ("lesion",)
MASK_COLUMN = "mask:"


def read_donors(
    lesion: str | Path, lesion_mask: str | Path | None, preprocess: Preprocess, types: Sequence[str] = ()
) -> tuple[list[Donor], tuple[str, ...]]:
    """Annotated images, brought to the frame of the images that get their lesions.

    Args:
        lesion: a picture, or a manifest (CSV, Parquet) whose rows are pictures with the column ``mask``, or a column
            ``mask:<type>`` for every type of lesion.
        lesion_mask: of one picture: anything above half of the range is lesion; with ``types``, type numbers from 1.
        preprocess: crop and size of the images.
        types: names of the types, from the first; left out, as the manifest's target says (``mask:background|MA|HE``),
            or one type.

    Returns:
        The donors, and the names of the types.

    Raises:
        DataError: files that cannot be read, masks that do not fit, a picture without a mask.
    """
    path = Path(lesion)
    for file, what in ((path, "--lesion"), (lesion_mask, "--lesion-mask")):
        if file is not None and not Path(file).is_file():
            raise DataError("no such file", where=file, do=f"correct the path after {what}")
    if path.suffix.lower() in {".csv", ".parquet"}:
        return _of_manifest(path, lesion_mask, preprocess, tuple(types))
    if lesion_mask is None:
        raise DataError("no mask of its lesions", where=lesion, do="give one with --lesion-mask FILE")
    from scantling.data.readers import read_mask, read_picture

    names = tuple(types) or ONE_TYPE
    mask = read_mask(Path(lesion_mask), num_classes=len(names) + 1)
    image, frame = preprocess.apply(read_picture(path), mask)
    return [Donor(image, _known(frame))], names


def _of_manifest(
    path: Path, lesion_mask: str | Path | None, preprocess: Preprocess, types: tuple[str, ...]
) -> tuple[list[Donor], tuple[str, ...]]:
    from scantling.data.manifest import Manifest
    from scantling.data.readers import read_mask, read_picture

    if lesion_mask is not None:
        raise DataError("a manifest names its masks itself", where=path, do="leave out --lesion-mask")
    manifest = Manifest.read(path)
    columns = [str(c) for c in manifest.table.columns if str(c).startswith(MASK_COLUMN)]
    names = types or tuple(c.removeprefix(MASK_COLUMN) for c in columns) or _names(manifest)
    if columns and len(columns) != len(names):
        raise DataError(f"{len(columns)} columns of masks for {len(names)} types", where=path, do="give one a type")
    if not columns and "mask" not in manifest.table:
        raise DataError("no column 'mask'", where=path, do="give every annotated image its mask")
    donors = []
    for row in range(len(manifest)):
        file, part = manifest.path(row)
        picture = read_picture(file, part, manifest.frame(row))
        if columns:
            mask = np.zeros(picture.pixels.shape[:2], dtype=np.uint8)
            for number, column in enumerate(columns, start=1):
                if manifest.table[column].notna().iloc[row]:
                    mask[read_mask(*manifest.path(row, column)) > 0] = number
        else:
            mask = read_mask(*manifest.path(row, "mask"), num_classes=len(names) + 1)
        image, frame = preprocess.apply(picture, mask)
        donors.append(Donor(image, _known(frame)))
    return donors, names


def _names(manifest: Manifest) -> tuple[str, ...]:
    target = manifest.target
    if target.kind != "mask" or target.size <= 2:
        return ONE_TYPE
    return target.names[1:]


def _known(mask: np.ndarray | None) -> np.ndarray:
    """The mask without the mark of unknown pixels."""
    from scantling.data.preprocess import UNKNOWN

    assert mask is not None
    return np.where(mask == UNKNOWN, 0, mask)
