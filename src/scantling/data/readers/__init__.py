"""Readers: any image file to a :class:`Picture`. One small module a format, found by the file's suffix, imported when
a file of that format is met. A reader module has ``read(path, part, frame) -> Picture`` and
``count(path, part) -> int``.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from scantling.core.errors import DataError
from scantling.data.readers.picture import Picture, natural_range
from scantling.data.readers.region import cut, parse_region

__all__ = ["READERS", "Picture", "count_frames", "is_image", "natural_range", "pixel_size", "read_mask", "read_picture"]

READERS = {
    ".jpg": "pil", ".jpeg": "pil", ".png": "pil", ".tif": "pil", ".tiff": "pil", ".webp": "pil", ".bmp": "pil",
    ".gif": "pil", ".ppm": "pil", ".pgm": "pil", ".dcm": "dicom", ".dicom": "dicom", ".nii": "nifti",
    ".nii.gz": "nifti", ".npz": "npz",
}  # fmt: skip
"""Module of each file suffix, lower case."""

UNKNOWN_CLASS = 255
"""Mask value of pixels outside the field of view, or not known."""


def read_picture(path: Path, part: str | None = None, frame: int | None = None) -> Picture:
    """Decode one image.

    Args:
        path: the file.
        part: array of an ``.npz``, plane of a NIfTI volume (``axial``, ``coronal``, ``sagittal``), or a box in pixels
            (``xywh=left,top,width,height``) of a picture in another format.
        frame: slice, frame, page or array row; None for the first.

    Raises:
        DataError: no such file, an unknown format, a part or frame that the file does not have, or a file that cannot
            be decoded to its end; the error names the file.
    """
    return _region_or_whole(Path(path), part, frame)


def count_frames(path: Path, part: str | None = None) -> int:
    """Number of slices, frames, pages or array rows in a file.

    Raises:
        DataError: as :func:`read_picture`.
    """
    return _call("count", Path(path), part)


def pixel_size(path: Path, part: str | None = None, frame: int | None = None) -> tuple[float, float] | None:
    """Millimetres between rows and between columns as the file's header tells; None where it does not, or cannot.

    Raises:
        DataError: as :func:`read_picture`.
    """
    path = Path(path)
    return _call("pixel_size", path, part, frame) if hasattr(_reader(path), "pixel_size") else None


def read_mask(path: Path, part: str | None = None, frame: int | None = None, num_classes: int = 2) -> np.ndarray:
    """Class number of every pixel.

    Two classes: anything above half of the range is class 1, unless the file holds only 0 and 1, which are then the
    class numbers. More classes: the pixels are the class numbers, and 255 stays 255, the mark of the unknown.

    Args:
        path: the file.
        part: as for :func:`read_picture`.
        frame: as for :func:`read_picture`.
        num_classes: classes with the background, from 2.

    Returns:
        ``(H, W)`` uint8.

    Raises:
        DataError: as :func:`read_picture`; a value that is no class; colours where class numbers are expected.
    """
    picture = _region_or_whole(Path(path), part, frame, mask=True)
    pixels = np.nan_to_num(picture.pixels) if picture.pixels.dtype.kind == "f" else picture.pixels
    if num_classes == 2:
        values = pixels.max(axis=2)
        half = 0.5 if values.max() <= 1 else picture.info.get("maximum", picture.high) / 2
        return (values > half).astype(np.uint8)
    if pixels.shape[2] > 1 and (pixels != pixels[..., :1]).any():
        raise DataError("the mask has colours, not class numbers", where=path, do="save it with one channel")
    numbers = np.rint(pixels[..., 0])
    stray = (numbers < 0) | ((numbers >= num_classes) & (numbers != UNKNOWN_CLASS))
    if stray.any():
        raise DataError(
            f"mask value {numbers[stray].flat[0]:g} is not one of {num_classes} classes",
            where=path,
            do="name all classes in the target, as mask:background|...",
        )
    return numbers.astype(np.uint8)


def is_image(path: Path) -> bool:
    """Whether the suffix is one that a reader knows."""
    return _suffix(path) in READERS


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    return ".nii.gz" if suffix == ".gz" and path.name.lower().endswith(".nii.gz") else suffix


def _reader(path: Path) -> ModuleType:
    name = READERS.get(_suffix(path))
    if name is None and path.is_file():
        with path.open("rb") as stream:
            name = "dicom" if stream.read(132)[128:] == b"DICM" else None
    if name is None:
        raise DataError(
            f"unknown image format '{_suffix(path) or 'no suffix'}'",
            where=path,
            do=f"convert it to one of {', '.join(READERS)}",
        )
    return importlib.import_module(f"{__name__}.{name}")


def _region_or_whole(path: Path, part: str | None, frame: int | None, mask: bool = False) -> Picture:
    region = parse_region(part)
    options = {"mask": True} if mask else {}
    if region is None:
        return _call("read", path, part, frame, **options)
    changed = path.stat().st_mtime_ns if path.is_file() else 0
    return cut(_recent(path, frame, mask, changed), region)


@lru_cache(maxsize=8)
def _recent(path: Path, frame: int | None, mask: bool, changed: int) -> Picture:
    """A whole picture, decoded once for all the regions that are asked for one after the other."""
    return _call("read", path, None, frame, **({"mask": True} if mask else {}))


def _call(function: str, path: Path, *arguments: object, **options: object) -> Any:
    reader = _reader(path)
    if not path.is_file():
        raise DataError("no such file", where=path, do="check the path in the manifest")
    try:
        return getattr(reader, function)(path, *arguments, **options)
    except DataError:
        raise
    except Exception as error:  # a damaged file makes a decoder raise anything: struct.error, KeyError, MemoryError
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise DataError(
            f"cannot be read ({reason})", where=path, do="replace the file or take its row out of the manifest"
        ) from error
