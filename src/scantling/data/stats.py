"""Figures of a data set: how many of what, how large, how bright."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from scantling.data.manifest import SPLITS, Manifest
from scantling.data.problems import class_counts
from scantling.data.readers import read_picture


def stats(manifest: Manifest, sample: int = 256, seed: int = 0) -> dict[str, Any]:
    """Counts of the whole table, and sizes and colours of a sample of its images.

    Args:
        manifest: the images.
        sample: images decoded for ``sizes``, ``mean`` and ``std``; drawn from train where there are splits.
        seed: of the draw.

    Returns:
        JSON-able: ``images``, ``target``, ``patients``, ``unlabelled``, ``splits`` {split: images}, ``classes`` {split:
        {class: images}}, ``sites`` {site: {class: images}} (with ``images``), ``sampled``, ``sizes`` (``min``,
        ``median``, ``max`` as [height, width], and ``distinct``), ``channels``, ``mean`` and ``std`` per channel of
        images in [0, 1]: per-image means averaged, then the root of the mean squared deviation of all pixels from them.

    Raises:
        DataError: an image of the sample cannot be decoded.
    """
    table = manifest.table
    rows = manifest.split("train") if manifest.has_splits else np.arange(len(manifest))
    rows = rows if len(rows) else np.arange(len(manifest))
    drawn = np.sort(np.random.default_rng(seed).permutation(rows)[:sample])
    return {
        "images": len(manifest),
        "target": manifest.target.spec,
        "patients": int(table["patient"].nunique()) if "patient" in table else None,
        "unlabelled": int(table["label"].isna().sum()) if "label" in table else None,
        "splits": {s: len(manifest.split(s)) for s in SPLITS if len(manifest.split(s))},
        "classes": class_counts(manifest),
        "sites": _sites(manifest),
        "sampled": len(drawn),
        **(_pixels(manifest, drawn) if len(drawn) else {}),
    }


def _sites(manifest: Manifest) -> dict[str, dict[str, Any]]:
    if "site" not in manifest.table:
        return {}
    out = {}
    for site, positions in manifest.table.groupby("site").indices.items():
        part = manifest.select(np.asarray(positions))
        counts: Counter[str] = Counter()
        for classes in class_counts(part).values():
            counts.update(classes)
        out[str(site)] = {"images": len(part), "classes": dict(counts)}
    return out


def _pixels(manifest: Manifest, rows: np.ndarray) -> dict[str, Any]:
    sizes, channels, sums, squares, means = [], [], [], [], []
    for row in rows.tolist():
        path, part = manifest.path(row)
        pixels = read_picture(path, part, manifest.frame(row)).to_uint8()
        sizes.append(pixels.shape[:2])
        channels.append(pixels.shape[2])
        counts = np.stack([np.bincount(c.ravel(), minlength=256) for c in np.moveaxis(pixels, 2, 0)])
        counts = np.broadcast_to(counts, (3, 256))
        level = np.arange(256) / 255
        sums.append(counts @ level)
        squares.append(counts @ level**2)
        means.append(counts @ level / counts.sum(axis=1))
    mean, pixels_in_all = np.mean(means, axis=0), np.array([h * w for h, w in sizes]).sum()
    variance = (np.sum(squares, axis=0) - 2 * mean * np.sum(sums, axis=0)) / pixels_in_all + mean**2
    shown = 1 if set(channels) == {1} else 3
    size: np.ndarray = np.array(sizes)
    return {
        "sizes": {
            "min": size.min(axis=0).tolist(),
            "median": np.median(size, axis=0).astype(int).tolist(),
            "max": size.max(axis=0).tolist(),
            "distinct": len({tuple(s) for s in sizes}),
        },
        "channels": {str(k): n for k, n in sorted(Counter(channels).items())},
        "mean": mean[:shown].tolist(),
        "std": np.sqrt(variance.clip(min=0))[:shown].tolist(),
    }
