"""Sets of fundus phantoms on disk: JPEG images, PNG masks, boxes, and the manifest that every verb reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from scantling.data.phantoms.folder import (
    MANIFEST,
    Progress,
    Rows,
    check_fractions,
    save_mask,
    save_photograph,
    write_set,
)
from scantling.data.phantoms.fundus import FundusBatch, check_options, draw_fundus
from scantling.data.phantoms.lattice import split_of

MASKS = ("vessel", "disc", "cup")
"""Masks that are written, one folder each."""

STRUCTURES = ("background", "vessel", "disc", "cup", "red_lesion", "bright_lesion", "other_lesion")
"""Classes of the map of structures, in the folder ``structures``: the masks, and lesions as ellipses in their boxes."""

_RED = frozenset({"microaneurysm", "haemorrhage", "preretinal_haemorrhage", "vitreous_haemorrhage"})
_BRIGHT = frozenset({"hard_exudate", "cotton_wool_spot"})

COLUMNS = (
    "image", "label", "target", "mask", "patient", "site", "laterality", "split", "quality", "disc", "cup",
    "degradation", "structures",
)  # fmt: skip
"""Columns of the manifest."""

LESION_COLUMNS = ("image", "kind", "left", "top", "right", "bottom")
"""Columns of ``lesions.csv``; pixels from 0, right and bottom excluded."""


def write_fundus(
    folder: str | os.PathLike[str],
    n: int = 500,
    sites: int = 1,
    size: int = 256,
    seed: int = 0,
    degraded: float = 0.0,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    workers: int = 1,
    progress: Progress | None = None,
    prior: str = "moderate",
) -> Path:
    """Write a set of fundus phantoms: photographs, masks, a map of all structures, boxes of lesions, and a manifest.

    In ``images/``, ``vessel/``, ``disc/``, ``cup/``, ``structures/``, ``lesions.csv`` and ``manifest.csv``.

    The manifest comes last, so that a set without one is not complete; running again writes the same files.

    Args:
        folder: where to write; made where missing.
        n: number of images; images ``2 p`` and ``2 p + 1`` are the eyes of patient ``p``.
        sites: number of sites, each with its own camera.
        size: side in pixels.
        seed: number of the set: same seed and settings, same files, whatever ``n`` and ``workers``.
        degraded: share of photographs with a fault, in [0, 1].
        fractions: shares of train, val and test, by patient.
        workers: processes that draw.
        progress: called with (images written, ``n``).
        prior: shares of the grades: ``moderate``, ``balanced`` or ``eyepacs``.

    Returns:
        The path of the manifest.

    Raises:
        DataError: an option outside its range, or a folder that already has a manifest.
        ScantlingError: the folder cannot be written or the disk is full.
    """
    check_options(n, size, seed, sites, degraded)
    check_fractions(fractions)
    write = partial(
        _write_chunk, size=size, seed=seed, sites=sites, degraded=degraded, fractions=tuple(fractions), prior=prior
    )
    tables = {"lesions.csv": LESION_COLUMNS, MANIFEST: COLUMNS}
    return write_set(folder, ("images", "structures", *MASKS), tables, n, workers, write, progress)


def _write_chunk(
    home: Path,
    start: int,
    count: int,
    size: int,
    seed: int,
    sites: int,
    degraded: float,
    fractions: tuple[float, ...],
    prior: str,
) -> tuple[Rows, Rows]:
    batch = draw_fundus(count, size, seed, sites, degraded, start=start, prior=prior)
    names = [f"{p:05d}_{side}" for p, side in zip(batch.patient, batch.laterality, strict=True)]
    rows = []
    for i, name in enumerate(names):
        save_photograph(batch.images[i], home / "images" / f"{name}.jpg")
        for kind in MASKS:
            save_mask(getattr(batch, kind)[i], home / kind / f"{name}.png")
        structures(batch, i).save(home / "structures" / f"{name}.png", compress_level=1)
        rows.append(_row(batch, i, name, split_of(seed, int(batch.patient[i]), fractions)))
    boxes: Rows = [
        (f"images/{names[i]}.jpg", kind, *corners)
        for (i, *corners), kind in zip(batch.boxes.tolist(), batch.kinds.tolist(), strict=True)
    ]
    return boxes, rows


def structures(batch: FundusBatch, i: int) -> Image.Image:
    """The class, one of :data:`STRUCTURES`, of every pixel: lesions over the rest, small ones over large ones."""
    classes = np.zeros(batch.vessel.shape[1:], dtype=np.uint8)
    for number, name in enumerate(MASKS, start=1):
        classes[getattr(batch, name)[i]] = number
    image = Image.fromarray(classes)
    draw = ImageDraw.Draw(image)
    mine = np.flatnonzero(batch.boxes[:, 0] == i)
    area = (batch.boxes[mine, 3] - batch.boxes[mine, 1]) * (batch.boxes[mine, 4] - batch.boxes[mine, 2])
    for row in mine[np.argsort(-area, kind="stable")]:
        kind, (left, top, right, bottom) = str(batch.kinds[row]), batch.boxes[row, 1:].tolist()
        name = "red_lesion" if kind in _RED else "bright_lesion" if kind in _BRIGHT else "other_lesion"
        draw.ellipse((left, top, right - 1, bottom - 1), fill=STRUCTURES.index(name))
    return image


def _row(batch: FundusBatch, i: int, name: str, split: str) -> tuple[Any, ...]:
    return (
        f"images/{name}.jpg", int(batch.grade[i]), "grade:5", f"vessel/{name}.png", f"p{int(batch.patient[i]):05d}",
        f"site{int(batch.site[i])}", str(batch.laterality[i]), split, str(batch.quality[i]), f"disc/{name}.png",
        f"cup/{name}.png", str(batch.degradation[i]), f"structures/{name}.png",
    )  # fmt: skip
