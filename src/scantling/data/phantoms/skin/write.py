"""Sets of dermoscopy phantoms on disk: JPEG images, PNG masks, and the manifest that every verb reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from scantling.data.phantoms.folder import (
    MANIFEST,
    Progress,
    Rows,
    check_fractions,
    save_mask,
    save_photograph,
    write_set,
)
from scantling.data.phantoms.skin.draw import check_options, draw_skin
from scantling.data.phantoms.skin.lesions import CLASSES, Balanced

COLUMNS = (
    "image", "label", "target", "mask", "lesion", "patient", "site", "split", "attributes", "artefacts",
)  # fmt: skip
"""Columns of the manifest."""


def write_skin(
    folder: str | os.PathLike[str],
    n: int = 2000,
    classes: int = 7,
    imbalance: float = 100.0,
    balanced: Literal["none", "test", "both"] = "both",
    sites: int = 1,
    size: int = 256,
    seed: int = 0,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Write a set of dermoscopy phantoms: photographs in ``images/``, masks in ``lesion/``, and ``manifest.csv``.

    The manifest comes last, so that a set without one is not complete; running again writes the same files.

    Args:
        folder: where to write; made where missing.
        n: number of images; every 12 show 8 lesions of 6 patients.
        classes: number of classes, 2 to 7, the most frequent first.
        imbalance: how many times as frequent the first class is as the last.
        balanced: splits whose classes are equally frequent all the same: ``none``, ``test``, or ``both`` val and test.
        sites: number of sites, each with its own dermatoscope.
        size: side in pixels.
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
    check_options(n, size, seed, classes, imbalance, sites, balanced)
    check_fractions(fractions)
    write = partial(
        _write_chunk, size=size, seed=seed, classes=classes, imbalance=imbalance, sites=sites, balanced=balanced,
        fractions=tuple(fractions),
    )  # fmt: skip
    return write_set(folder, ("images", "lesion"), {MANIFEST: COLUMNS}, n, workers, write, progress)


def _write_chunk(
    home: Path,
    start: int,
    count: int,
    size: int,
    seed: int,
    classes: int,
    imbalance: float,
    sites: int,
    balanced: Balanced,
    fractions: tuple[float, ...],
) -> tuple[Rows]:
    batch = draw_skin(count, size, seed, classes, imbalance, sites, balanced, fractions, start)
    target = f"class:{'|'.join(CLASSES[:classes])}"
    rows: Rows = []
    for i, number in enumerate(batch.index.tolist()):
        image, mask = f"images/{number:05d}.jpg", f"lesion/{number:05d}.png"
        save_photograph(batch.images[i], home / image)
        save_mask(batch.mask[i], home / mask)
        rows.append((
            image, CLASSES[batch.label[i]], target, mask, f"l{batch.lesion[i]:05d}", f"p{batch.patient[i]:05d}",
            f"site{batch.site[i]}", str(batch.split[i]), str(batch.attributes[i]), str(batch.artefacts[i]),
        ))  # fmt: skip
    return (rows,)
