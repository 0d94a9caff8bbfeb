"""The lesion bank: every connected lesion of the annotated images, cut out with enough round it to be turned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from scantling.core.errors import DataError

SIDES = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
"""Sides of the frames in which lesions lie, in pixels: lesions of like size are resampled together."""

RING = 3
"""Pixels round a lesion, but for other lesions, whose mean is the colour of its surroundings."""


class Donor(NamedTuple):
    """An annotated image.

    Args:
        image: ``(C, H, W)`` uint8, as networks see it.
        mask: type of the lesion at every pixel, ``(H, W)`` whole numbers; 0 is none.
    """

    image: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Group:
    """Lesions whose frames have the same side.

    Args:
        patches: frames cut from the donors, each with its lesion at the centre, ``(n, C, S, S)`` float32 in [0, 1].
        masks: 1 on the lesion itself, ``(n, 1, S, S)`` float32; other lesions in the frame do not count.
    """

    patches: Tensor
    masks: Tensor

    @property
    def side(self) -> int:
        """S, in pixels."""
        return int(self.patches.shape[-1])


@dataclass(frozen=True)
class LesionBank:
    """All lesions of the donors.

    Args:
        types: names of the types of lesions.
        kind: type of every lesion, ``(N,)`` int64 from 0; lesions of one type follow each other.
        group: the group that holds it, ``(N,)`` int64.
        slot: its place there, ``(N,)`` int64.
        area: its pixels, ``(N,)`` int64.
        surroundings: mean colour round it, ``(N, C)`` float32 in [0, 1].
        groups: frames by side.
    """

    types: tuple[str, ...]
    kind: np.ndarray
    group: np.ndarray
    slot: np.ndarray
    area: np.ndarray
    surroundings: Tensor
    groups: tuple[Group, ...]

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def counts(self) -> np.ndarray:
        """Lesions of each type ``(T,)``."""
        return np.bincount(self.kind, minlength=len(self.types))

    def to(self, device: torch.device) -> LesionBank:
        """The bank on a device."""
        if self.surroundings.device == device:
            return self
        groups = tuple(Group(g.patches.to(device), g.masks.to(device)) for g in self.groups)
        return LesionBank(
            self.types, self.kind, self.group, self.slot, self.area, self.surroundings.to(device), groups
        )  # fmt: skip


class Component(NamedTuple):
    """One connected lesion: its type from 1, its box (top, bottom, left, right), and its pixels in the box."""

    kind: int
    box: tuple[int, int, int, int]
    pixels: np.ndarray


def components(mask: np.ndarray) -> list[Component]:
    """The connected lesions of a mask ``(H, W)`` of types, by type; pixels that touch at a corner are connected.

    >>> [(c.kind, int(c.pixels.sum())) for c in components(np.array([[2, 0, 1], [2, 0, 0], [0, 2, 0]]))]
    [(1, 1), (2, 3)]
    """
    from scipy.ndimage import find_objects, label

    found = []
    for kind in np.unique(mask[mask > 0]).tolist():
        numbers, _ = label(mask == kind, structure=np.ones((3, 3)))
        for number, (rows, columns) in enumerate(find_objects(numbers), start=1):
            box = (rows.start, rows.stop, columns.start, columns.stop)
            found.append(Component(int(kind), box, numbers[rows, columns] == number))
    return found


def make_bank(donors: Sequence[Donor], types: Sequence[str], largest_scale: float = 1.0) -> LesionBank:
    """Cut out all lesions of the donors.

    Args:
        donors: annotated images with the same channels.
        types: names of the types; number k of a mask is ``types[k - 1]``.
        largest_scale: by which lesions will be enlarged at most; their frames hold them at any angle.

    Raises:
        DataError: a type without a name, a lesion larger than the largest frame, or types without any lesion.
    """
    found: list[tuple[int, int, np.ndarray, np.ndarray, np.ndarray]] = []
    for donor in donors:
        for component in components(donor.mask):
            if component.kind > len(types):
                known = ", ".join(types)
                raise DataError(
                    f"lesion type {component.kind} has no name among {known}", do="name all types of the mask"
                )
            side = _side(component.box, largest_scale)
            patch, pixels, ring = _cut(donor, component, side)
            found.append((component.kind - 1, side, patch, pixels, ring))
    lacking = [name for k, name in enumerate(types) if not any(entry[0] == k for entry in found)]
    if lacking:
        raise DataError(
            f"no lesion of {' or '.join(lacking)} in the masks of {len(donors)} annotated images",
            do="check the masks; masks of several types hold their numbers: name them in task.synthesizer.types; small "
            "lesions vanish from small images: raise data.image_size",
        )
    found.sort(key=lambda entry: entry[0])
    sides = sorted({entry[1] for entry in found})
    members = [[i for i, entry in enumerate(found) if entry[1] == side] for side in sides]
    group, slot = np.zeros(len(found), dtype=np.int64), np.zeros(len(found), dtype=np.int64)
    for number, rows in enumerate(members):
        group[rows], slot[rows] = number, np.arange(len(rows))
    return LesionBank(
        types=tuple(types),
        kind=np.array([entry[0] for entry in found], dtype=np.int64),
        group=group,
        slot=slot,
        area=np.array([int(entry[3].sum()) for entry in found], dtype=np.int64),
        surroundings=torch.from_numpy(np.stack([entry[4] for entry in found]).astype(np.float32)),
        groups=tuple(
            Group(
                torch.from_numpy(np.stack([found[i][2] for i in rows]).astype(np.float32) / 255),
                torch.from_numpy(np.stack([found[i][3] for i in rows]).astype(np.float32))[:, None],
            )
            for rows in members
        ),
    )


def _side(box: tuple[int, int, int, int], largest_scale: float) -> int:
    """Side of the smallest frame that holds the box at any angle, with a pixel to spare on each side."""
    diagonal = math.hypot(box[1] - box[0], box[3] - box[2])
    needed = math.ceil(diagonal * max(1.0, largest_scale)) + 2
    for side in SIDES:
        if side >= needed:
            return side
    raise DataError(f"a lesion of {diagonal:.0f} pixels is too large", do="lower data.image_size")


def _cut(donor: Donor, component: Component, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frame, lesion and surrounding colour; what lies outside the donor repeats its border."""
    top, bottom, left, right = component.box
    rows = np.arange(side) + (top + bottom) // 2 - side // 2
    columns = np.arange(side) + (left + right) // 2 - side // 2
    height, width = donor.mask.shape
    inside = np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))
    patch = donor.image[:, inside[0], inside[1]]
    pixels = np.zeros((side, side), dtype=bool)
    pixels[top - rows[0] : bottom - rows[0], left - columns[0] : right - columns[0]] = component.pixels
    around = _grown(pixels) & (donor.mask[inside] == 0)
    around = around if around.any() else _grown(pixels)
    return patch, pixels, patch[:, around].mean(1) / 255


def _grown(pixels: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_dilation

    ring: np.ndarray = binary_dilation(pixels, np.ones((3, 3)), iterations=RING) & ~pixels
    return ring if ring.any() else pixels
