"""The mask of one row: a file of classes, a file of bits, or a file a structure, with the field of view laid over."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scantling.core.errors import DataError
from scantling.data.preprocess import UNKNOWN
from scantling.data.readers import read_mask
from scantling.data.references import Reference, Source


def read_masks(row: Reference, num_classes: int) -> np.ndarray | None:
    """The class of every pixel, or, of structures with a file each, the sum of their bits.

    Args:
        row: the files; a structure without a file is nowhere (the target's labels say that it was not drawn).
        num_classes: values that a single file may hold, see :func:`scantling.data.references.mask_classes`.

    Returns:
        ``(H, W)`` uint8, 255 outside the field of view; None where the row has neither mask nor field of view.

    Raises:
        DataError: see :func:`scantling.data.readers.read_mask`; also files of different sizes.

    Structure k of several adds ``2^k``: a pixel of the first and of the third structure is 5.
    """
    if not row.masks and row.roi is None:
        return None
    single = len(row.masks) == 1
    drawn = [None if source is None else _read(source, num_classes if single else 2) for source in row.masks]
    roi = None if row.roi is None else _read(row.roi, 2)
    shapes = {mask.shape for mask in (*drawn, roi) if mask is not None}
    shape = shapes.pop()
    if shapes:
        sizes = " and ".join(f"{height} x {width}" for height, width in (shape, *shapes))
        raise DataError(f"its masks have {sizes} pixels", where=row.image.path, do="give masks of the image's size")
    out = np.zeros(shape, np.uint8) if row.masks else np.full(shape, UNKNOWN, np.uint8)
    for bit, mask in enumerate(drawn):
        if mask is not None:
            out |= mask << np.uint8(0 if single else bit)
    if roi is not None:
        out[roi == 0] = UNKNOWN
    return out


def _read(source: Source, num_classes: int) -> np.ndarray:
    return read_mask(Path(source.path), source.part, source.frame, num_classes)
