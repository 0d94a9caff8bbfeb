"""What the files behind a manifest really hold: every image and mask decoded once, to its end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scantling.core.errors import DataError
from scantling.data.manifest import Manifest
from scantling.data.masks import read_masks
from scantling.data.readers import read_picture
from scantling.data.references import Reference, mask_classes, references

Progress = Callable[[int, int], None]
"""Called with the rows done and the rows in all."""


@dataclass(frozen=True)
class Facts:
    """One row's image and mask as decoded.

    Args:
        missing: the image file is not there.
        error: why the image cannot be used, None when it can.
        digest: hash of the decoded pixels; equal for images that look the same, however they are stored.
        size: height and width of the image.
        channels: 1 or 3.
        blank: all pixels are equal.
        mask_error: why the mask cannot be used; None when it can, or when there is none.
        mask_size: height and width of the mask.
    """

    missing: bool = False
    error: str | None = None
    digest: bytes = b""
    size: tuple[int, int] = (0, 0)
    channels: int = 0
    blank: bool = False
    mask_error: str | None = None
    mask_size: tuple[int, int] | None = None


def collect_facts(manifest: Manifest, workers: int | None = None, progress: Progress | None = None) -> list[Facts]:
    """Facts of every row, in the manifest's order.

    Args:
        manifest: the rows.
        workers: threads (decoders let go of the interpreter's lock); by default one a processor, at most 8.
        progress: told after every row.
    """
    rows, num_classes = references(manifest), mask_classes(manifest)
    threads = min(os.cpu_count() or 1, 8) if workers is None else workers

    def look(row: Reference) -> Facts:
        return _facts(row, num_classes)

    if threads <= 1:
        return list(_told(map(look, rows), len(rows), progress))
    with ThreadPoolExecutor(threads) as pool:
        return list(_told(pool.map(look, rows), len(rows), progress))


def _told(results: Iterator[Facts], total: int, progress: Progress | None) -> Iterator[Facts]:
    for done, result in enumerate(results, 1):
        if progress is not None:
            progress(done, total)
        yield result


def _facts(row: Reference, num_classes: int) -> Facts:
    mask_error, mask_size = _mask(row, num_classes)
    if not Path(row.image.path).is_file():
        return Facts(missing=True, error="no such file", mask_error=mask_error, mask_size=mask_size)
    try:
        picture = read_picture(Path(row.image.path), row.image.part, row.image.frame)
    except DataError as error:
        return Facts(error=error.what, mask_error=mask_error, mask_size=mask_size)
    pixels = picture.pixels
    height, width, channels = pixels.shape
    digest = hashlib.blake2b(f"{pixels.shape} {pixels.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return Facts(
        digest=digest.digest(),
        size=(height, width),
        channels=channels,
        blank=bool((pixels == pixels[:1, :1]).all()),
        mask_error=mask_error,
        mask_size=mask_size,
    )


def _mask(row: Reference, num_classes: int) -> tuple[str | None, tuple[int, int] | None]:
    try:
        mask = read_masks(row, num_classes)
    except DataError as error:
        return error.what, None
    return None, None if mask is None else (mask.shape[0], mask.shape[1])
