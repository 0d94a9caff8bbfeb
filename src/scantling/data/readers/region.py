"""A part of a picture: many cells of one smear, many lesions of one photograph, each as an image of its own.

A region is named behind ``#`` as media fragments are (W3C Media Fragments URI 1.0): ``smear.jpg#xywh=275,186,72,72``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from scantling.data.readers.picture import Picture

_PATTERN = re.compile(r"xywh=(-?\d+),(-?\d+),(\d+),(\d+)")


class Region(NamedTuple):
    """A box in pixels of the upright picture; it may reach over the border."""

    left: int
    top: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"xywh={self.left},{self.top},{self.width},{self.height}"


def parse_region(part: str | None) -> Region | None:
    """The region that a part names, or None where it names something else or nothing.

    >>> parse_region("xywh=-4,186,72,72"), parse_region("axial")
    (Region(left=-4, top=186, width=72, height=72), None)
    """
    found = _PATTERN.fullmatch(part or "")
    if found is None:
        return None
    region = Region(*map(int, found.groups()))
    return region if region.width and region.height else None


def cut(picture: Picture, region: Region) -> Picture:
    """The region of a picture; what lies outside the picture is filled with its lowest value."""
    height, width, channels = picture.pixels.shape
    out = np.full((region.height, region.width, channels), picture.low, dtype=picture.pixels.dtype)
    top, left = max(region.top, 0), max(region.left, 0)
    bottom, right = min(region.top + region.height, height), min(region.left + region.width, width)
    if top < bottom and left < right:
        target = slice(top - region.top, bottom - region.top), slice(left - region.left, right - region.left)
        out[target] = picture.pixels[top:bottom, left:right]
    return replace(picture, pixels=out)
