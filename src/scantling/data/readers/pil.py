"""JPEG, PNG (8 and 16 bit), TIFF, WebP and the like, through Pillow; turned as their EXIF orientation says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from scantling.core.errors import DataError
from scantling.data.readers.picture import Picture, natural_range

_GREY = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"}


def read(path: Path, part: str | None, frame: int | None, mask: bool = False) -> Picture:
    """One page as ``(H, W, 1)`` (grey; alpha is dropped) or ``(H, W, 3)`` (everything else, as RGB).

    A palette image is shown in its colours, but as a mask gives its palette indices, unless the palette is grey.
    """
    with Image.open(path) as image:
        if frame:
            if frame >= getattr(image, "n_frames", 1):
                raise DataError(f"no frame {frame}", where=path, do=f"frames are 0 to {_pages(image) - 1}")
            image.seek(frame)
        image.load()
        mode = image.mode
        pixels = _pixels(ImageOps.exif_transpose(image), mask)
        info = {"format": image.format, "mode": mode}
    low, high = (0.0, 65535.0) if mode == "I" and info["format"] == "PNG" else natural_range(pixels)
    return Picture(np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[..., None]), low, high, None, info)


def count(path: Path, part: str | None) -> int:
    """Pages or animation frames."""
    with Image.open(path) as image:
        return _pages(image)


def _pages(image: Image.Image) -> int:
    return int(getattr(image, "n_frames", 1))


def _pixels(image: Image.Image, mask: bool) -> np.ndarray:
    if image.mode == "P" and mask:
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
        return np.array(image.convert("L") if (palette == palette[:, :1]).all() else image)
    if image.mode == "P" or image.mode not in _GREY:
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    return np.array(image.convert("L") if image.mode in {"1", "LA", "La"} else image)
