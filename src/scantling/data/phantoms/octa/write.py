"""Sets of OCTA phantoms on disk: PNG images and masks, the manifest, and the manifest of good images alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from scantling.data.phantoms.folder import (
    MANIFEST,
    Progress,
    Rows,
    check_fractions,
    save_mask,
    save_picture,
    write_set,
)
from scantling.data.phantoms.lattice import split_of
from scantling.data.phantoms.octa.draw import check_options, draw_octa
from scantling.data.phantoms.octa.scanner import FAULTS, GRADES

GOOD = "good.csv"
"""Manifest of the outstanding images that are not of the test split."""

COLUMNS = (
    "image", "label", "target", "mask", "zone", "patient", "laterality", "split", "degradation", "severity",
)  # fmt: skip
"""Columns of the manifest."""

GOOD_COLUMNS = ("image", "patient", "laterality", "split")
"""Columns of the manifest of good images: no grade."""


def write_octa(
    folder: str | os.PathLike[str],
    n: int = 1000,
    outstanding: float = 0.5,
    size: int = 256,
    seed: int = 0,
    fractions: Sequence[float] = (0.5, 0.15, 0.35),
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Write a set of OCTA phantoms: ``images/``, masks in ``vessel/`` and ``zone/``, ``good.csv`` and ``manifest.csv``.

    The manifest comes last, so that a set without one is not complete; running again writes the same files.

    Args:
        folder: where to write; made where missing.
        n: number of images; images ``2 p`` and ``2 p + 1`` are the eyes of patient ``p``.
        outstanding: share of images of the best grade, in [0, 1]; of the rest, half are gradable, half ungradable.
        size: side in pixels; the frame is 3 x 3 mm.
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
    check_options(n, size, seed, outstanding)
    check_fractions(fractions)
    write = partial(_write_chunk, size=size, seed=seed, outstanding=outstanding, fractions=tuple(fractions))
    tables = {GOOD: GOOD_COLUMNS, MANIFEST: COLUMNS}
    return write_set(folder, ("images", "vessel", "zone"), tables, n, workers, write, progress)


def _write_chunk(
    home: Path, start: int, count: int, size: int, seed: int, outstanding: float, fractions: tuple[float, ...]
) -> tuple[Rows, Rows]:
    batch = draw_octa(count, size, seed, outstanding, start)
    good: Rows = []
    rows: Rows = []
    for i, number in enumerate(batch.index.tolist()):
        patient, side = number // 2, ("right", "left")[number % 2]
        name = f"{patient:05d}_{side}.png"
        save_picture(batch.images[i], home / "images" / name)
        save_mask(batch.vessel[i], home / "vessel" / name)
        save_mask(batch.zone[i], home / "zone" / name)
        split, grade = split_of(seed, patient, fractions), int(batch.grade[i])
        strengths = dict(zip(FAULTS, batch.faults[i].tolist(), strict=True))
        told = "+".join(f"{kind}:{strength:.2f}" for kind, strength in strengths.items() if strength)
        rows.append((
            f"images/{name}", grade, f"grade:{'|'.join(GRADES)}", f"vessel/{name}", f"zone/{name}", f"p{patient:05d}",
            side, split, told, round(max(strengths.values()), 4),
        ))  # fmt: skip
        if GRADES[grade] == "outstanding" and split != "test":
            good.append((f"images/{name}", f"p{patient:05d}", side, split))
    return good, rows
