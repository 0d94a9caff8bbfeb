"""Arrays in an ``.npz``: ``file.npz#train_images``, row by ``frame``. The array is read once a process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scantling.core.errors import DataError, nearest
from scantling.data.readers.cache import OpenFiles
from scantling.data.readers.picture import Picture, natural_range

_ARRAYS: OpenFiles[tuple[np.ndarray, tuple[float, float]]] = OpenFiles(4)


def read(path: Path, part: str | None, frame: int | None, mask: bool = False) -> Picture:
    """Row ``frame`` of an array ``(N, H, W)`` or ``(N, H, W, C)``; ``(H, W)`` and ``(H, W, 3)`` are one image."""
    images, (low, high) = _images(path, part)
    row = frame or 0
    if row >= len(images):
        raise DataError(f"no frame {row}", where=path, do=f"frames are 0 to {len(images) - 1}")
    pixels = images[row]
    return Picture(pixels[..., :3] if pixels.shape[2] == 4 else pixels, low, high)


def count(path: Path, part: str | None) -> int:
    """Rows of the array."""
    return len(_images(path, part)[0])


def _images(path: Path, part: str | None) -> tuple[np.ndarray, tuple[float, float]]:
    return _ARRAYS.get(path, part, lambda: _load(path, part))


def _load(path: Path, part: str | None) -> tuple[np.ndarray, tuple[float, float]]:
    with np.load(path, allow_pickle=False) as archive:
        names = list(archive.files)
        name = names[0] if part is None and len(names) == 1 else part
        if name not in names:
            raise DataError(
                f"no array '{name}'{nearest(str(name), names)}" if name else "several arrays",
                where=path,
                do=f"name one of {', '.join(names)} behind '#'",
            )
        array = archive[name]
    shape = array.shape
    if array.ndim == 2:
        array = array[None, ..., None]
    elif array.ndim == 3:
        array = array[None] if shape[2] in (3, 4) and shape[1] > 4 else array[..., None]
    if array.ndim != 4 or array.shape[3] not in (1, 3, 4) or not array.size or array.dtype.kind not in "buif":
        raise DataError(
            f"array '{name}' {shape} of {array.dtype} holds no images",
            where=path,
            do="images are (N, H, W) or (N, H, W, 3)",
        )
    return array, natural_range(array)
