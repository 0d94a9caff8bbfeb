"""What images truly measure: from columns of the manifest, else from their masks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scantling.core.errors import DataError
from scantling.data.masks import read_masks
from scantling.data.references import references
from scantling.measure.planes import measure_planes

if TYPE_CHECKING:
    from scantling.core.target import Target
    from scantling.data.manifest import Manifest
    from scantling.measure.frames import Frame

TRUTHS: Mapping[str, tuple[str, ...]] = {"head": ("hc", "bpd", "ofd"), "abdomen": ("ac",), "femur": ("fl",)}
"""Lengths that have a truth in each plane, the most important first."""


def lengths_of(target: Target) -> list[str]:
    """Everything that is measured in the planes of a target."""
    return [length for plane in target.names for length in TRUTHS[plane]]


def true_lengths(
    manifest: Manifest, rows: Sequence[int], planes: np.ndarray, target: Target, frames: Sequence[Frame]
) -> dict[str, np.ndarray]:
    """Millimetres (pixels of the original where its spacing is not known) of every length, ``(n,)`` each, NaN where
    there is none.

    Columns ``hc_mm``, ``bpd_mm``, ``ofd_mm``, ``ac_mm`` and ``fl_mm`` come first; what they leave out is measured in
    the mask at its own size.

    Args:
        manifest: the images.
        rows: of them.
        planes: true planes of these rows, ``(n,)`` int, -1 where not known: such a row has no lengths.
        target: names the planes.
        frames: of these rows.

    Raises:
        DataError: a cell that is no number, or a mask that cannot be read.
    """
    table = manifest.table.iloc[np.asarray(rows, dtype=np.int64)]
    found = {name: _column(manifest, table, f"{name}_mm") for name in lengths_of(target)}
    names = [None if plane < 0 else target.names[plane] for plane in planes.tolist()]
    spaced = np.array([frame.spacing is not None for frame in frames], dtype=bool)
    for values in found.values():
        values[~spaced] = np.nan
    missing = [
        i
        for i, plane in enumerate(names)
        if plane is not None and any(np.isnan(found[length][i]) for length in TRUTHS[plane])
    ]
    sources = references(manifest) if missing and "mask" in manifest.table else []

    def drawn(i: int) -> dict[str, Any]:
        plane, source = names[i], sources[rows[i]]
        mask = read_masks(source, 2) if source.masks else None
        if plane is None or mask is None:
            return {}
        spacing = None if frames[i].spacing is None else np.array([frames[i].spacing])
        return measure_planes((mask == 1)[None], [plane], spacing)[0]

    if sources:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            measured = dict(zip(missing, pool.map(drawn, missing), strict=True))
        for i, row in measured.items():
            plane = names[i]
            for length in TRUTHS[plane] if plane is not None else ():
                if np.isnan(found[length][i]):
                    found[length][i] = row.get(length, np.nan)
    return found


def _column(manifest: Manifest, table: pd.DataFrame, name: str) -> np.ndarray:
    if name not in table:
        return np.full(len(table), np.nan)
    values = pd.to_numeric(table[name], errors="coerce")
    stray = (values.isna() & table[name].notna()) | ~(values.isna() | (values > 0))
    if stray.any():
        position = int(np.flatnonzero(stray.to_numpy(dtype=bool))[0])
        where = f"row {int(table.index[position]) + 2}"
        raise DataError(
            f"'{table[name].iloc[position]}' in column '{name}' is no length in millimetres",
            where=where if manifest.source is None else f"{manifest.source}, {where}",
            do="correct it or leave it empty",
        )
    return values.to_numpy(dtype=np.float64, na_value=np.nan).copy()
