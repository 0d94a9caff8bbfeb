"""Outlines that a data set gives as numbers or lines, drawn as masks beside the manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from scantling.core.files import writing

WORKERS = 4


def masks_beside(manifest: Path) -> Path:
    """The folder of the masks that are drawn for a manifest: ``heads.csv`` has ``heads_masks/`` beside it."""
    return manifest.with_name(f"{manifest.stem}_masks")


def draw(
    images: Sequence[str], folder: Path, mask_of: Callable[[int, tuple[int, int]], np.ndarray | None]
) -> list[str | None]:
    """Write the masks of images, ``<image>.png`` with 0 and 255.

    Args:
        images: paths; their masks have the same sizes.
        folder: where to write; made where missing.
        mask_of: called with the number of an image and its height and width; gives ``(height, width)`` bool, or None.

    Returns:
        The path of each mask; None where there is none, or no image that says how large it should be.

    Raises:
        ScantlingError: the folder cannot be written or the disk is full.
    """

    def one(number: int) -> str | None:
        shape = shape_of(images[number])
        mask = None if shape is None else mask_of(number, shape)
        if mask is None:
            return None
        path = folder / f"{Path(images[number]).stem}.png"
        with writing(path) as part:
            Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).save(part, "PNG", compress_level=1)
        return str(path)

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(one, range(len(images))))


def shape_of(path: str | Path) -> tuple[int, int] | None:
    """Height and width of an image; None where it is missing or unreadable."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except OSError:
        return None
