"""Volumes as manifests name them: a row without a frame becomes one row a slice, all of one case."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from scantling.data.manifest import Manifest
from scantling.data.readers import count_frames

VOLUMES = (".nii", ".nii.gz", ".dcm", ".dicom", ".npz")
"""Suffixes of files whose frames are the slices of a volume, or the images of an array."""

_THREADS = 8


def expanded(manifest: Manifest) -> Manifest:
    """The manifest with one row a slice for every row that names a file of several slices and no frame.

    Everything else in the row is repeated, so that slices of a volume share split, site and patient. Where no patient
    is given, the file stands for one: slices of a volume are not independent of one another.

    Raises:
        DataError: a file that cannot be opened.

    The frames of a file are counted from its header.
    """
    table = manifest.table
    named = [manifest.path(row) for row in range(len(table))]
    whole = [
        row
        for row, (path, _) in enumerate(named)
        if path.name.lower().endswith(VOLUMES) and manifest.frame(row) is None
    ]
    files = sorted({named[row] for row in whole}, key=str)
    with ThreadPoolExecutor(_THREADS) as pool:
        counts = dict(zip(files, pool.map(lambda file: count_frames(*file), files), strict=True))
    repeats = np.ones(len(table), dtype=np.int64)
    for row in whole:
        repeats[row] = counts[named[row]]
    if (repeats == 1).all():
        return manifest
    rows = np.repeat(np.arange(len(table)), repeats)
    out = table.iloc[rows].reset_index(drop=True)
    frames = np.arange(len(rows)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    sliced = repeats[rows] > 1
    kept = out["frame"] if "frame" in out else pd.Series(pd.NA, index=out.index)
    out["frame"] = kept.astype("Int64").where(~sliced, pd.Series(frames, dtype="Int64"))
    if "patient" not in out:
        out["patient"] = None
    out["patient"] = out["patient"].astype("object").where(out["patient"].notna() | ~sliced, out["image"])
    return manifest.with_table(out)
