"""A set of images to be judged: embeddings, labels, patients and pictures, from a manifest or from arrays."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from scantling.core.batch import IMAGE
from scantling.core.errors import DataError
from scantling.data.manifest import SPLITS, Manifest
from scantling.data.store import Store
from scantling.run.encoders import EMBEDDING, Encoder

if TYPE_CHECKING:
    from scantling.core.target import Target

MultiLabel = Literal["single", "jaccard"]
Progress = Callable[[int, int], None]
ARRAYS = ".npz"


@dataclass(frozen=True)
class ImageSet:
    """One of the two sets.

    Args:
        embeddings: ``(N, D)``.
        names: of the classes or findings.
        labels: ``(N,)`` int64 into ``names``, or findings ``(N, F)`` of 0 and 1.
        rows: of the file that each image comes from, ``(N,)``, counted as in a table: the first image is row 2; in
            arrays from 0.
        images: pixels of all rows of the manifest ``(.., C, H, W)`` uint8, mapped; None for arrays.
        kept: row of ``images`` of every image, ``(N,)`` int64.
        patients: codes ``(N,)``, negative where not known; None without patients.
        left_out: images without a usable label.
    """

    embeddings: Tensor
    names: tuple[str, ...]
    labels: np.ndarray
    rows: np.ndarray
    images: Tensor | None
    kept: Tensor
    patients: np.ndarray | None
    left_out: int

    def __len__(self) -> int:
        return len(self.embeddings)

    def pixels(self, which: np.ndarray) -> Tensor | None:
        """Pixels of some images ``(n, C, H, W)`` uint8."""
        return None if self.images is None else self.images[self.kept[torch.from_numpy(np.asarray(which))]]


def read_set(
    path: Path,
    encoder: Encoder | None,
    device: torch.device,
    *,
    split: str | None = None,
    multi_label: MultiLabel = "single",
    batch_size: int = 32,
    workers: int = 0,
    decoding: Progress | None = None,
    encoding: Progress | None = None,
) -> ImageSet:
    """Embeddings and labels of a manifest, or of an ``.npz`` file with ``embeddings`` and ``labels``.

    Args:
        path: the file.
        encoder: of the images of a manifest.
        device: where it computes.
        split: of a manifest; None for all rows.
        multi_label: of findings: ``single`` keeps images with exactly one finding, ``jaccard`` all of them.
        batch_size: images at a time.
        workers: that decode; 0 for one a core.
        decoding: called with images decoded and images in all.
        encoding: called with images encoded and images in all.

    Raises:
        DataError: a file that cannot be read, no labels, no such split, or images that cannot be read.
    """
    if path.suffix.lower() == ARRAYS:
        return _of_arrays(path)
    if encoder is None:
        raise DataError(
            "no encoder given", where=path, do="name one with --encoder: a run folder, hub:resnet50, or pixels"
        )
    manifest = Manifest.read(path)
    names, labels, usable = _labels(manifest, multi_label)
    wanted = np.arange(len(manifest)) if split is None else _rows(manifest, split)
    rows = wanted[usable[wanted]]
    if not len(rows):
        raise DataError("no image with a usable label", where=path, do="add labels, or choose another split")
    store = Store.open(manifest, encoder.preprocess, None, workers or os.cpu_count() or 1, decoding)
    store.derive(encoder.derivation, batch_size, device, encoding)
    kept = torch.from_numpy(rows)
    features = store.data[EMBEDDING][kept]
    _refuse_empty(features, manifest, rows)
    patients = None
    if "patient" in manifest.table and manifest.table["patient"].notna().any():
        patients = pd.factorize(manifest.table["patient"])[0].astype(np.int64)[rows]
    return ImageSet(
        features, names, labels[rows], rows + 2, store.data[IMAGE], kept, patients,
        len(wanted) - len(rows),
    )  # fmt: skip


def common_labels(real: ImageSet, synthetic: ImageSet) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names of both sets, and the labels of each in terms of them.

    Raises:
        DataError: no class occurs in both sets.
    """
    names = tuple(dict.fromkeys([*real.names, *synthetic.names]))
    wide = real.labels.ndim == 2 or synthetic.labels.ndim == 2
    out = []
    for one in (real, synthetic):
        place = np.array([names.index(n) for n in one.names], dtype=np.int64)
        if not wide:
            out.append(place[one.labels])
            continue
        table = np.zeros((len(one), len(names)), dtype=np.int64)
        if one.labels.ndim == 2:
            table[:, place] = one.labels
        else:
            table[np.arange(len(one)), place[one.labels]] = 1
        out.append(table)
    if not wide and not np.intersect1d(*out).size:
        told = [", ".join(np.array(names)[np.unique(o)][:4]) for o in out]
        raise DataError(
            f"the sets have no class in common: {told[0]} and {told[1]}", do="use the same names of classes in both"
        )
    return names, out[0], out[1]


def _refuse_empty(features: Tensor, manifest: Manifest, rows: np.ndarray) -> None:
    bad = ~(features.isfinite().all(1) & features.any(1))
    if bool(bad.any()):
        row = int(rows[int(bad.int().argmax())])
        raise DataError(
            f"the embedding of '{manifest.table['image'].iloc[row]}' is zero or not finite",
            where=f"{manifest.source}, row {row + 2}",
            do="leave the image out, or use another encoder",
        )


def _of_arrays(path: Path) -> ImageSet:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in ("embeddings", "labels") if name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot be read ({error})", where=path, do="give a manifest or an .npz file") from error
    if len(found) < 2:
        raise DataError("no arrays 'embeddings' and 'labels'", where=path, do="save both under these names")
    features, labels = found["embeddings"], found["labels"]
    if features.ndim != 2 or labels.ndim not in (1, 2) or len(labels) != len(features) or not len(features):
        shapes = f"{features.shape} and {labels.shape}"
        raise DataError(f"'embeddings' and 'labels' have the shapes {shapes}", where=path, do="give (N, D) and (N,)")
    if features.dtype.kind not in "fiu":
        raise DataError(f"'embeddings' are {features.dtype}", where=path, do="give numbers")
    everything = torch.arange(len(features))
    if labels.ndim == 2:
        names = tuple(map(str, range(labels.shape[1])))
        codes = labels
    else:
        kinds, codes = np.unique(labels, return_inverse=True)
        names = tuple(map(str, kinds.tolist()))
    values = torch.from_numpy(features if features.dtype.kind == "f" else features.astype(np.float32))
    return ImageSet(values, names, codes, np.arange(len(features)), None, everything, None, 0)


def _rows(manifest: Manifest, split: str) -> np.ndarray:
    if split not in SPLITS:
        raise DataError(f"no split '{split}'", do=f"use {', '.join(SPLITS)}")
    return manifest.split(split)


def _labels(manifest: Manifest, multi_label: MultiLabel) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names, labels of all rows, and which rows have a usable one."""
    target: Target = manifest.target
    if target.kind not in ("class", "grade", "findings"):
        what = f"its target is '{target.kind}', which has no classes"
        raise DataError(what, where=manifest.source, do="import it with labels (class, grade or findings)")
    encoded: Any = target.encode(manifest.table)
    if target.kind != "findings":
        return target.names, np.maximum(encoded, 0), encoded >= 0
    known = ~np.isnan(encoded)
    positive = (encoded == 1).astype(np.int64)
    if multi_label == "jaccard":
        return target.names, positive, known.all(1)
    return target.names, positive.argmax(1), positive.sum(1) == 1
