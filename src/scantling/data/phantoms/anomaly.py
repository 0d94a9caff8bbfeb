"""Sets for anomaly detection: normals to train on, graded anomalies to test on, and one annotated donor beside them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from scantling.core.errors import DataError, nearest
from scantling.data.phantoms import optics
from scantling.data.phantoms.chest import draw_chests
from scantling.data.phantoms.eyes import draw_eye
from scantling.data.phantoms.folder import (
    MANIFEST,
    Progress,
    Rows,
    check_fractions,
    check_least,
    save_mask,
    save_picture,
    write_set,
)
from scantling.data.phantoms.fundus import SMALLEST, draw_eyes
from scantling.data.phantoms.lattice import lattice, split_of

Organ = Literal["chest", "fundus"]
Where = Literal["test", "all"]

SEVERITIES = 4

COLUMNS = (
    "image", "label", "target", "mask", "organ", "patient", "site", "split", "severity", "kinds",
)  # fmt: skip
"""Columns of the manifest."""

_TARGET = "class:normal|abnormal"
_DONOR_SEVERITY, _DONOR_POSITION, _FIRST_DONOR = 3, 0.6, 50_000_000


@dataclass(frozen=True)
class AnomalyBatch:
    """``N`` images with their truth.

    Args:
        images: ``(N, H, W)`` uint8 for chests, ``(N, H, W, 3)`` for fundi.
        mask: the lesions, ``(N, H, W)`` bool; nowhere in normals.
        organ: lungs, or the field of view of a fundus photograph, likewise.
        severity: 0 (normal) to 4, ``(N,)`` int64.
        kinds: kinds of the lesions, joined by ``+``, ``(N,)`` str.
        index: number of the image in the set, ``(N,)`` int64; the patient is ``index // 2``.
        site: number of the site, ``(N,)`` int64.
        split: ``train``, ``val`` or ``test``, ``(N,)`` str.
    """

    images: np.ndarray
    mask: np.ndarray
    organ: np.ndarray
    severity: np.ndarray
    kinds: np.ndarray
    index: np.ndarray
    site: np.ndarray
    split: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def draw_anomalies(
    count: int,
    of: Organ = "chest",
    size: int = 256,
    seed: int = 0,
    sites: int = 1,
    abnormal: float = 0.5,
    abnormal_in: Where = "test",
    fractions: Sequence[float] = (0.6, 0.1, 0.3),
    start: int = 0,
    lesions: bool = True,
) -> AnomalyBatch:
    """Draw the images ``start`` to ``start + count - 1`` of the set ``seed``.

    An image depends on its number, the seed and the settings, and not on which others are drawn with it. Images
    ``2 p`` and ``2 p + 1`` are slices or eyes of patient ``p``, who is normal or abnormal as a whole.

    Args:
        count: number of images.
        of: what they show: a ``chest`` in CT, or a ``fundus``.
        size: side in pixels, at least 32.
        seed: number of the set, not negative.
        sites: number of sites, each with its own scanner or camera.
        abnormal: share of abnormal patients, in [0, 1], in the splits that have any.
        abnormal_in: ``test``, or ``all`` splits, for methods that learn from abnormal images.
        fractions: shares of train, val and test, by patient.
        start: number of the first image.
        lesions: whether to draw the lesions; without them, the same patients in good health.

    Raises:
        DataError: an option outside its range.

    >>> batch = draw_anomalies(8, size=64, fractions=(0, 0, 1))
    >>> bool((batch.mask.any((1, 2)) == (batch.severity > 0)).all())
    True
    """
    check_options(count, of, size, seed, sites, abnormal, abnormal_in, start)
    check_fractions(fractions)
    index = np.arange(start, start + count)
    place = lattice(seed, index // 2)
    split = np.array([split_of(seed, int(i) // 2, fractions) for i in index], dtype=str)
    sick = (place[:, 0] < abnormal) & ((split == "test") | (abnormal_in == "all"))
    grade = np.where(sick, place[:, 0] / max(abnormal, 1e-9), 0.0) * SEVERITIES
    severity = np.where(sick, 1 + grade.astype(np.int64), 0) * lesions
    site = (place[:, 2] * sites).astype(np.int64)
    return _drawn(of, index, severity, grade % 1.0, site, split, size, seed, sites)


def draw_donors(count: int, of: Organ = "chest", size: int = 256, seed: int = 0) -> AnomalyBatch:
    """Abnormal images of ``count`` patients who are in no set: severity 3, site 0; see :func:`draw_anomalies`."""
    check_options(count, of, size, seed, 1, 0.0, "test")
    index = _FIRST_DONOR + 2 * np.arange(count)
    severity, position = np.full(count, _DONOR_SEVERITY), np.full(count, _DONOR_POSITION)
    return _drawn(
        of, index, severity, position, np.zeros(count, dtype=np.int64), np.full(count, "train"), size, seed, 1
    )


def check_options(
    count: int, of: str, size: int, seed: int, sites: int, abnormal: float, abnormal_in: str, start: int = 0
) -> None:
    """Refuse options outside their range.

    Raises:
        DataError: names the option and its range.
    """
    for name, value, known in (("of", of, ("chest", "fundus")), ("abnormal_in", abnormal_in, ("test", "all"))):
        if value not in known:
            raise DataError(f"{name} is '{value}'{nearest(value, known)}", do=f"use {' or '.join(known)}")
    check_least(count=(count, 0), size=(size, SMALLEST), seed=(seed, 0), sites=(sites, 1), start=(start, 0))
    if not 0 <= abnormal <= 1:
        raise DataError(f"abnormal is {abnormal}", do="give a share between 0 and 1")


def _drawn(
    of: Organ,
    index: np.ndarray,
    severity: np.ndarray,
    position: np.ndarray,
    site: np.ndarray,
    split: np.ndarray,
    size: int,
    seed: int,
    sites: int,
) -> AnomalyBatch:
    numbers, grades, places = index.tolist(), severity.tolist(), position.tolist()
    if of == "chest":
        chests = draw_chests(numbers, grades, places, size, seed, site.tolist())
        return AnomalyBatch(chests.images, chests.lesion, chests.lung, severity, chests.kinds, index, site, split)
    zoom = [optics.camera_of(s).zoom for s in range(sites)]
    eyes = [
        replace(draw_eye(seed, i, sites, zoom=zoom), grade=g, position=p, latent=float("nan"), site=s)
        for i, g, p, s in zip(numbers, grades, places, site.tolist(), strict=True)
    ]
    fundi = draw_eyes(eyes, size, seed)
    kinds = ["+".join(sorted(set(fundi.kinds[fundi.boxes[:, 0] == i].tolist()))) for i in range(len(eyes))]
    return AnomalyBatch(
        fundi.images, fundi.lesion, fundi.field_of_view, severity, np.array(kinds, dtype=str), index, site, split
    )


def write_anomaly(
    folder: str | os.PathLike[str],
    n: int = 1000,
    of: Literal["chest", "fundus"] = "chest",
    abnormal: float = 0.5,
    abnormal_in: Literal["test", "all"] = "test",
    donors: int = 1,
    sites: int = 1,
    size: int = 256,
    seed: int = 0,
    fractions: Sequence[float] = (0.6, 0.1, 0.3),
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Write a set for anomaly detection, all as PNG: a manifest of normals and abnormals, and a donor beside it.

    Images in ``images/``, masks in ``lesion/`` (black for normals) and ``organ/``; the donor, a patient who is not in
    the manifest, in ``donor.png`` and ``donor_mask.png``. The manifest comes last, so that a set without one is not
    complete.

    Args:
        folder: where to write; made where missing.
        n: number of images in the manifest; images ``2 p`` and ``2 p + 1`` are slices or eyes of patient ``p``.
        of: what the images show: ``chest`` (CT slices) or ``fundus``.
        abnormal: share of abnormal patients, in [0, 1], in the splits that have any.
        abnormal_in: ``test``, or ``all`` splits, for methods that learn from abnormal images.
        donors: number of donors; the second is in ``donor_2.png`` and ``donor_2_mask.png``, and so on.
        sites: number of sites, each with its own scanner or camera.
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
    check_options(n, of, size, seed, sites, abnormal, abnormal_in)
    check_fractions(fractions)
    check_least(donors=(donors, 0))
    write = partial(
        _write_chunk, of=of, size=size, seed=seed, sites=sites, abnormal=abnormal, abnormal_in=abnormal_in,
        fractions=tuple(fractions), donors=donors,
    )  # fmt: skip
    return write_set(folder, ("images", "lesion", "organ"), {MANIFEST: COLUMNS}, n, workers, write, progress)


def _write_chunk(
    home: Path,
    start: int,
    count: int,
    of: Organ,
    size: int,
    seed: int,
    sites: int,
    abnormal: float,
    abnormal_in: Where,
    fractions: tuple[float, ...],
    donors: int,
) -> tuple[Rows]:
    if start == 0:
        _write_donors(home, donors, of, size, seed)
    batch = draw_anomalies(count, of, size, seed, sites, abnormal, abnormal_in, fractions, start)
    rows: Rows = []
    for i, number in enumerate(batch.index.tolist()):
        image, mask, organ = (f"{kind}/{number:05d}.png" for kind in ("images", "lesion", "organ"))
        save_picture(batch.images[i], home / image)
        save_mask(batch.mask[i], home / mask)
        save_mask(batch.organ[i], home / organ)
        label = "abnormal" if batch.severity[i] else "normal"
        rows.append((
            image, label, _TARGET, mask, organ, f"p{number // 2:05d}", f"site{batch.site[i]}", str(batch.split[i]),
            int(batch.severity[i]), str(batch.kinds[i]),
        ))  # fmt: skip
    return (rows,)


def _write_donors(home: Path, count: int, of: Organ, size: int, seed: int) -> None:
    batch = draw_donors(count, of, size, seed)
    for i in range(count):
        name = "donor" if i == 0 else f"donor_{i + 1}"
        save_picture(batch.images[i], home / f"{name}.png")
        save_mask(batch.mask[i], home / f"{name}_mask.png")
