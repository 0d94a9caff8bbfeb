"""Sets of ultrasound phantoms on disk: PNG frames, PNG masks, and the manifest that every verb reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from scantling.data.phantoms.folder import MANIFEST, Progress, Rows, check_fractions, save_mask, save_picture, write_set
from scantling.data.phantoms.ultrasound.draw import LENGTHS, check_options, draw_ultrasound
from scantling.data.phantoms.ultrasound.fetus import PLANES

COLUMNS = (
    "image", "target", "plane", "mask", "patient", "site", "split", "pixel_spacing", *(f"{n}_mm" for n in LENGTHS),
    "cx", "cy", "semi_a", "semi_b", "angle_deg", "weeks",
)  # fmt: skip
"""Columns of the manifest."""

_TARGET = f"biometry:{'|'.join(PLANES)}"


def write_ultrasound(
    folder: str | os.PathLike[str],
    n: int = 600,
    sites: int = 1,
    size: int = 256,
    seed: int = 0,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Write a set of fetal ultrasound phantoms: frames in ``images/``, masks in ``masks/``, and ``manifest.csv``.

    The manifest comes last, so that a set without one is not complete; running again writes the same files.

    Args:
        folder: where to write; made where missing.
        n: number of images; images ``3 p`` to ``3 p + 2`` are head, abdomen and femur of patient ``p``.
        sites: number of sites, each with its own scanner.
        size: width in pixels; the height is three quarters of it.
        seed: number of the set: same seed and settings, same files, whatever ``n`` and ``workers``.
        fractions: shares of train, val and test, by patient.
        workers: processes that draw.
        progress: called with (images written, ``n``).

    Returns:
        The path of the manifest.

    Raises:
        DataError: an option outside its range, or a folder that already has a manifest.
        ScantlingError: the folder cannot be written or the disk is full.
    """
    check_options(n, size, seed, sites)
    check_fractions(fractions)
    write = partial(_write_chunk, size=size, seed=seed, sites=sites, fractions=tuple(fractions))
    return write_set(folder, ("images", "masks"), {MANIFEST: COLUMNS}, n, workers, write, progress)


def _write_chunk(
    home: Path, start: int, count: int, size: int, seed: int, sites: int, fractions: tuple[float, ...]
) -> tuple[Rows]:
    batch = draw_ultrasound(count, size, seed, sites, fractions, start)
    rows: Rows = []
    for i, number in enumerate(batch.index.tolist()):
        name = f"{number:05d}_{batch.plane[i]}.png"
        image, mask = f"images/{name}", f"masks/{name}"
        save_picture(batch.images[i], home / image)
        save_mask(batch.mask[i], home / mask)
        lengths = [None if np.isnan(v) else round(v, 4) for v in batch.lengths[i].tolist()]
        shape = [*batch.centre[i].tolist(), *batch.semi_axes[i].tolist(), float(np.degrees(batch.angle[i]))]
        rows.append((
            image, _TARGET, str(batch.plane[i]), mask, f"p{batch.patient[i]:05d}", f"site{batch.site[i]}",
            str(batch.split[i]), f"{batch.spacing[i]:.9g}", *lengths, *(round(v, 4) for v in shape),
            round(float(batch.weeks[i]), 3),
        ))  # fmt: skip
    return (rows,)
