"""Phantom sets on disk: chunks of images drawn by several processes, tables in order, the manifest last."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scantling.core.errors import DataError
from scantling.core.files import os_error, writing

MANIFEST = "manifest.csv"
JPEG_QUALITY = 95

Rows = list[tuple[Any, ...]]
Progress = Callable[[int, int], object]
"""Called with (images written, images in all)."""

_CHUNK = 16


def write_set(
    folder: str | os.PathLike[str],
    folders: Sequence[str],
    tables: Mapping[str, Sequence[str]],
    n: int,
    workers: int,
    write: Callable[[Path, int, int], tuple[Rows, ...]],
    progress: Progress | None = None,
) -> Path:
    """Write ``n`` images, chunk by chunk, and the tables about them.

    Args:
        folder: where to write; made where missing.
        folders: names of the folders inside it.
        tables: columns of every table by its file name; the last one is the manifest, with a row an image.
        n: number of images.
        workers: processes that draw.
        write: called with (``folder``, number of the first image, number of images), perhaps in another process; writes
            the images and returns the rows of every table.
        progress: told after every chunk.

    Returns:
        The path of the manifest, which is written last: a set without one is not complete.

    Raises:
        DataError: no images, no workers, or a folder that already has a manifest.
        ScantlingError: the folder cannot be written or the disk is full.
    """
    if n < 1 or workers < 1:
        raise DataError("the number of images and of workers must be at least 1", where=f"n={n}, workers={workers}")
    home = Path(folder)
    manifest = home / list(tables)[-1]
    if manifest.exists():
        raise DataError("there is a manifest already", where=manifest, do="choose another folder or delete this one")
    try:
        for name in folders:
            (home / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise os_error(error, home) from error
    starts = list(range(0, n, _CHUNK))
    gathered: list[Rows] = [[] for _ in tables]
    for more in _run(write, home, starts, [min(_CHUNK, n - s) for s in starts], workers):
        for rows, new in zip(gathered, more, strict=True):
            rows += new
        if progress is not None:
            progress(len(gathered[-1]), n)
    for (name, columns), rows in zip(tables.items(), gathered, strict=True):
        _write_table(home / name, columns, rows)
    return manifest


def save_photograph(pixels: np.ndarray, path: Path) -> None:
    """``pixels (H, W, 3)`` uint8 as JPEG."""
    Image.fromarray(pixels).save(path, quality=JPEG_QUALITY, subsampling=0)


def save_picture(pixels: np.ndarray, path: Path) -> None:
    """``pixels (H, W)`` or ``(H, W, 3)`` uint8 as PNG, without loss."""
    Image.fromarray(pixels).save(path, compress_level=1)


def save_mask(mask: np.ndarray, path: Path) -> None:
    """``mask (H, W)`` bool as PNG with 0 and 255."""
    save_picture(mask.astype(np.uint8) * np.uint8(255), path)


def check_fractions(fractions: Sequence[float]) -> None:
    """Refuse what is no three shares.

    Raises:
        DataError: not three, or negative, or all zero.
    """
    if len(fractions) != 3 or min(fractions) < 0 or sum(fractions) <= 0:
        raise DataError(
            f"split fractions {tuple(fractions)} cannot be used",
            do="give three shares for train, val and test: 0.7 0.1 0.2",
        )


def check_least(**options: tuple[float, float]) -> None:
    """Refuse numbers below their least value; every option is ``(value, least)``.

    Raises:
        DataError: names the option.
    """
    for name, (value, least) in options.items():
        if not value >= least:
            raise DataError(f"{name} is {value}", do=f"give {least} or more")


def _run(
    write: Callable[[Path, int, int], tuple[Rows, ...]], home: Path, starts: list[int], counts: list[int], workers: int
) -> Iterator[tuple[Rows, ...]]:
    homes = [home] * len(starts)
    try:
        if workers == 1 or len(starts) == 1:
            yield from map(write, homes, starts, counts)
            return
        with ProcessPoolExecutor(min(workers, len(starts)), mp_context=multiprocessing.get_context("spawn")) as pool:
            yield from pool.map(write, homes, starts, counts)
    except OSError as error:
        raise os_error(error, home) from error
    except BrokenProcessPool as error:
        raise DataError(
            "a drawing process ended early",
            do="use one worker, or call from under `if __name__ == '__main__':`, or look whether memory ran out",
        ) from error


def _write_table(path: Path, columns: Sequence[str], rows: Rows) -> None:
    import pandas as pd

    with writing(path) as part:
        pd.DataFrame(rows, columns=list(columns)).to_csv(part, index=False)
