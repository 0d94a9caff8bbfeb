"""Pictures inside a page: small JPEGs as data addresses, saliency and masks laid over them."""

from __future__ import annotations

import base64
import io

import numpy as np

MASK_COLOURS = np.array(
    [(70, 224, 235), (255, 214, 70), (255, 110, 190), (140, 235, 90), (120, 150, 255), (255, 150, 70)],
    dtype=np.float64,
)
"""Colours of the mask classes 1, 2, ..., repeated."""


def jpeg_address(image: np.ndarray, longest: int = 176, quality: int = 82) -> str:
    """An image as a ``data:`` address.

    Args:
        image: ``(H, W)``, ``(H, W, 1)`` or ``(H, W, 3)`` uint8.
        longest: the longest side is reduced to this many pixels; smaller images are enlarged by whole numbers.
        quality: of the JPEG.
    """
    from PIL import Image

    picture = Image.fromarray(as_colour(image))
    largest = max(picture.size)
    if largest > longest:
        width, height = (max(1, round(side * longest / largest)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    elif largest * 2 <= longest:
        factor = longest // largest
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def as_colour(image: np.ndarray) -> np.ndarray:
    """``(H, W, 3)`` uint8 from grey or colour; channels beyond the third are dropped."""
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    return np.ascontiguousarray(np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[..., :3])


def with_saliency(image: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """The image, dimmed, with a heat map over it.

    Args:
        image: ``(H, W)``, ``(H, W, 1)`` or ``(H, W, 3)`` uint8.
        saliency: ``(h, w)`` float in [0, 1]; stretched to the image.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    from matplotlib import colormaps
    from PIL import Image

    base = as_colour(image)
    heat = np.clip(np.nan_to_num(np.asarray(saliency, dtype=np.float32)), 0, 1)
    size = (base.shape[1], base.shape[0])
    heat = np.clip(np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BICUBIC)), 0, 1)[..., None]
    colours = 255 * colormaps["inferno"](heat[..., 0])[..., :3]
    weight = 0.15 + 0.6 * heat
    return np.round((1 - weight) * base + weight * colours).astype(np.uint8)


def stacked(mask: np.ndarray, structures: int) -> np.ndarray:
    """Structures that may overlap as classes to look at: the last structure of a pixel lies on top.

    Args:
        mask: ``(H, W)`` sums of bits; -1 and 255 are unknown.
        structures: how many.

    Returns:
        ``(H, W)`` int64: 0, or 1 + the number of the structure; 255 stays.
    """
    mask = np.asarray(mask).astype(np.int64)
    unknown = (mask < 0) | (mask == 255)
    top = np.zeros_like(mask)
    for k in range(structures):
        top[(mask >> k) & 1 == 1] = k + 1
    return np.where(unknown, 255, top)


def with_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image with every class of a mask tinted and outlined; background and unknown stay as they are.

    Args:
        image: ``(H, W)``, ``(H, W, 1)`` or ``(H, W, 3)`` uint8.
        mask: ``(H, W)`` int.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    base = as_colour(image).astype(np.float64)
    mask = np.asarray(mask).astype(np.int64)
    inside = (mask > 0) & (mask != 255)
    padded = np.pad(mask, 1, mode="edge")
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    outline = inside & np.logical_or.reduce([mask != other for other in neighbours])
    weight = np.where(outline, 0.95, np.where(inside, 0.42, 0.0))[..., None]
    colours = MASK_COLOURS[(mask - 1) % len(MASK_COLOURS)]
    return np.round((1 - weight) * base + weight * colours).astype(np.uint8)
