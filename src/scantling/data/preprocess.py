"""From a decoded image to the pixels that a network sees: crop, resize, channels; the mask by the same geometry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from PIL import Image

from scantling.core.errors import DataError, RecipeError, nearest
from scantling.data.fundus import field_of_view_box
from scantling.data.placement import Placement

if TYPE_CHECKING:
    from scantling.data.readers import Picture

Crop = Literal["none", "fundus", "center_square"]
Fit = Literal["stretch", "pad"]
Box = tuple[int, int, int, int]

UNKNOWN = 255
"""Mask value of padding, of pixels outside the field of view, and of images without a mask."""

_VERSION = 1
_REDUCING_GAP = 4.0


@dataclass(frozen=True)
class Preprocess:
    """How images become arrays of one size; written into stores and bundles, so that prediction repeats it.

    Args:
        size: height and width of the result in pixels; one number for a square.
        crop: ``none``, ``fundus`` (the box of the lit disc, see :func:`field_of_view_box`) or ``center_square``.
        fit: ``stretch`` to the size, or ``pad``: keep the aspect ratio and fill the rest with zeros, equally on both
            sides; the mask there is 255, unknown.
        channels: 1 (grey, by luma) or 3 (colour; grey images are repeated).

    Raises:
        RecipeError: a value that is none of these.

    >>> Preprocess(size=224).size, Preprocess.from_json(Preprocess(64, crop="fundus").to_json()).crop
    ((224, 224), 'fundus')
    """

    size: int | tuple[int, int] = 224
    crop: Crop = "none"
    fit: Fit = "stretch"
    channels: Literal[1, 3] = 3

    def __post_init__(self) -> None:
        pair = (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)
        if len(pair) != 2 or not all(isinstance(s, int) and s > 0 for s in pair):
            raise RecipeError(f"size {self.size!r} is not one or two whole numbers above 0", where="preprocess")
        object.__setattr__(self, "size", pair)
        for name, choices in (("crop", get_args(Crop)), ("fit", get_args(Fit)), ("channels", (1, 3))):
            value = getattr(self, name)
            if value not in choices:
                raise RecipeError(
                    f"{name} '{value}' is unknown{nearest(str(value), choices)}",
                    where="preprocess",
                    do=f"use one of {', '.join(map(str, choices))}",
                )

    @property
    def height(self) -> int:
        """Rows of the result."""
        return self._pair[0]

    @property
    def width(self) -> int:
        """Columns of the result."""
        return self._pair[1]

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of the result."""
        return (self.channels, *self._pair)

    @property
    def key(self) -> str:
        """A stable text that differs when the result may differ."""
        return json.dumps({"version": _VERSION, **self.to_json()}, sort_keys=True, separators=(",", ":"))

    def to_json(self) -> dict[str, Any]:
        """Plain content for ``bundle.json``."""
        return {**asdict(self), "size": list(self._pair)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Preprocess:
        """The inverse of :meth:`to_json`.

        Raises:
            RecipeError: an unknown key or value.
        """
        names = [f.name for f in fields(cls)]
        for name in content:
            if name not in names:
                raise RecipeError(f"unknown key '{name}'{nearest(name, names)}", where="preprocess")
        size = content.get("size", 224)
        return cls(**{**content, "size": size if isinstance(size, int) else tuple(size)})

    def apply(self, picture: Picture, mask: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """The pixels that a network sees.

        Images are resampled with Lanczos. Those more than eight times larger are first averaged down to at least four
        times the size: four to six times faster, and no pixel changes by more than 5 of 255 levels even in noise.

        Args:
            picture: a decoded image.
            mask: class numbers ``(H, W)`` uint8 of the same height and width; resampled to the nearest pixel.

        Returns:
            uint8 ``(C, H, W)``, and uint8 ``(H, W)`` or None.

        Raises:
            DataError: an image without pixels or with a number of channels other than 1 or 3, or a mask of another
                size than its image.
        """
        pixels = picture.to_uint8()
        height, width, channels = pixels.shape
        if not height or not width or channels not in (1, 3):
            raise DataError(f"the image has the shape {pixels.shape}", do="give images of 1 or 3 channels")
        if mask is not None and mask.shape != (height, width):
            raise DataError(
                f"the mask has {mask.shape[0]} x {mask.shape[1]} pixels and its image {height} x {width}",
                do="give masks of the size of their images",
            )
        box = self._box(pixels)
        image = Image.fromarray(pixels if channels == 3 else pixels[..., 0])
        if self.channels == 1 and channels == 3:
            image = image.convert("L")
        top, left, rows, columns = self._place(box)
        resized = np.asarray(image.resize((columns, rows), Image.Resampling.LANCZOS, box, _REDUCING_GAP))
        out = np.zeros(self.shape, dtype=np.uint8)
        out[:, top : top + rows, left : left + columns] = resized.transpose(2, 0, 1) if resized.ndim == 3 else resized
        if mask is None:
            return out, None
        classes = np.full(self._pair, UNKNOWN, dtype=np.uint8)
        nearest_mask = Image.fromarray(mask).resize((columns, rows), Image.Resampling.NEAREST, box)
        classes[top : top + rows, left : left + columns] = np.asarray(nearest_mask)
        return out, classes

    def placement(self, picture: Picture) -> Placement:
        """Which part of a picture :meth:`apply` keeps, and where it puts it: the way back for predicted masks."""
        pixels = picture.to_uint8()
        box = self._box(pixels)
        return Placement((pixels.shape[0], pixels.shape[1]), box, self._place(box))

    @property
    def _pair(self) -> tuple[int, int]:
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    def _box(self, pixels: np.ndarray) -> Box:
        """``(left, top, right, bottom)`` of what is kept."""
        height, width = pixels.shape[:2]
        if self.crop == "fundus":
            return field_of_view_box(pixels)
        if self.crop == "center_square":
            side = min(height, width)
            left, top = (width - side) // 2, (height - side) // 2
            return left, top, left + side, top + side
        return 0, 0, width, height

    def _place(self, box: Box) -> Box:
        """Top, left, rows and columns of the resized image inside the result."""
        height, width = self._pair
        if self.fit == "stretch":
            return 0, 0, height, width
        scale = min(height / (box[3] - box[1]), width / (box[2] - box[0]))
        rows = min(height, max(1, round((box[3] - box[1]) * scale)))
        columns = min(width, max(1, round((box[2] - box[0]) * scale)))
        return (height - rows) // 2, (width - columns) // 2, rows, columns
