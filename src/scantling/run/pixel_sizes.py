"""How large the pixels of listed images are, and which images belong to one examination."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from scantling.core.errors import DataError
from scantling.data.manifest import Manifest, parse_spacing
from scantling.data.readers import pixel_size
from scantling.run.listing import Images, Listed, with_slices

Spacing = tuple[float, float]


@dataclass(frozen=True)
class Origin:
    """Where a listed image comes from.

    Args:
        spacing: millimetres between rows and between columns of the original; None where lengths are told in pixels.
        examination: number of the examination, from 1 in the order of the manifest; None where not known. It stands for
            the patient (and the manifest's column ``examination``, where there is one), whose name stays out of
            results.
        weeks: gestational age that the manifest knows, in its column ``weeks``.
    """

    spacing: Spacing | None = None
    examination: int | None = None
    weeks: float | None = None


def origins_of(
    images: Images, split: str | None, listed: Sequence[Listed], given: str | float | None = None, pixels: bool = False
) -> list[Origin]:
    """The origins of listed images.

    The size of a pixel is the manifest's ``pixel_spacing``, else what the file says, else the one given.

    Args:
        images: that were listed.
        split: of a manifest.
        listed: what :func:`scantling.run.listing.list_images` made of them.
        given: millimetres between rows and between columns, ``0.2\\0.3``, or one number for both.
        pixels: ask for no sizes: lengths are told in pixels of the originals.

    Raises:
        DataError: images whose size of pixels is not known, or a size that is none.
    """
    table = _manifest(images, split)
    sizes: list[Spacing | None] = [None] * len(listed)
    if not pixels:
        try:
            fallback = parse_spacing(given)
        except DataError as error:
            raise DataError(error.what, where="pixel_spacing", do=error.do) from None
        known = sizes if table is None else [table.spacing(row) for row in range(len(table))]
        sizes = _completed(known, listed, fallback)
    numbers = [None] * len(listed) if table is None else _examinations(table)
    weeks = [None] * len(listed) if table is None else _weeks(table)
    return [Origin(*each) for each in zip(sizes, numbers, weeks, strict=True)]


def _manifest(images: Images, split: str | None) -> Manifest | None:
    """The rows that were listed, where a manifest was given."""
    if not isinstance(images, (Manifest, str, Path)) and len(images) == 1:
        images = images[0]
    manifest = with_slices(images)
    if not isinstance(manifest, Manifest):
        return None
    return manifest if split is None else manifest.select(manifest.split(split))


def _completed(
    known: Sequence[Spacing | None], listed: Sequence[Listed], given: Spacing | None
) -> list[Spacing | None]:
    """Sizes of all images; None only for files that cannot be read, which fail by themselves."""
    out, damaged = list(known), set[int]()

    def ask(number: int) -> None:
        source = listed[number].source
        try:
            out[number] = pixel_size(Path(source.path), source.part, source.frame) or given
        except DataError:
            damaged.add(number)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        list(pool.map(ask, [number for number, size in enumerate(known) if size is None]))
    unknown = [number for number, size in enumerate(out) if size is None and number not in damaged]
    if unknown:
        others = f", nor that of {len(unknown) - 1} others" if len(unknown) > 1 else ""
        raise DataError(
            f"the size of its pixels is not known{others}",
            where=listed[unknown[0]].name,
            do="give the manifest a column pixel_spacing, or --pixel-spacing MM, or ask for --pixels",
        )
    return out


def _examinations(manifest: Manifest) -> list[int | None]:
    table = manifest.table
    if "patient" not in table:
        return [None] * len(table)
    visits = table["examination"].astype("string").fillna("") if "examination" in table else [""] * len(table)
    keys = [None if not isinstance(p, str) else (p, str(v)) for p, v in zip(table["patient"], visits, strict=True)]
    numbers = {key: n for n, key in enumerate(dict.fromkeys(k for k in keys if k is not None), 1)}
    return [None if key is None else numbers[key] for key in keys]


def _weeks(manifest: Manifest) -> list[float | None]:
    table = manifest.table
    if "weeks" not in table:
        return [None] * len(table)
    values = pd.to_numeric(table["weeks"], errors="coerce")
    stray = np.flatnonzero((values.isna() & table["weeks"].notna()).to_numpy(dtype=bool))
    if len(stray):
        where = f"row {stray[0] + 2}" if manifest.source is None else f"{manifest.source}, row {stray[0] + 2}"
        what = f"'{table['weeks'].iloc[stray[0]]}' in column 'weeks' is no age"
        raise DataError(what, where=where, do="give weeks as a number, or leave it empty")
    return [None if np.isnan(value) else float(value) for value in values.to_numpy(dtype=float, na_value=np.nan)]
