"""From a manifest and data settings to images, labels and splits, ready for loaders."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.core.batch import FELLOW_IMAGE, IMAGE
from scantling.core.errors import DataError
from scantling.core.seams import Inputs
from scantling.core.target import Target, parse_target
from scantling.data.anomaly import is_anomaly, with_anomaly_labels
from scantling.data.fellows import fellow_rows
from scantling.data.loader import Loader
from scantling.data.manifest import Manifest
from scantling.data.preprocess import Preprocess
from scantling.data.settings import DataSettings, fixed_inputs
from scantling.data.store import open_images
from scantling.data.volumes import expanded

if TYPE_CHECKING:
    from scantling.data.images import ImageSource

Progress = Callable[[int, int], None]
MEASURED_IMAGES = 512


@dataclass
class Prepared:
    """Data of a run.

    Args:
        manifest: with a split in every row that is used.
        target: what is predicted.
        preprocess: how files became pixels.
        images: of all rows.
        labels: encoded, ``(N,)`` int64 or ``(N, K)`` float32.
        fellows: row of the other eye, ``(N,)``, where asked for.
        notices: what the user should know.
    """

    manifest: Manifest
    target: Target
    preprocess: Preprocess
    images: ImageSource
    labels: Tensor
    fellows: Tensor | None
    notices: list[str]

    def rows(self, split: str) -> Tensor:
        """Rows of one split ``(n,)``.

        Raises:
            DataError: it is empty.
        """
        found = torch.from_numpy(self.manifest.split(split))
        if not len(found):
            raise DataError(
                f"no image in the split '{split}'",
                where=self.manifest.source,
                do="run `scantling data split`, or choose another split",
            )
        return found

    def loader(self, rows: Tensor, batch_size: int, **options: object) -> Loader:
        """Batches of these rows with labels and, where asked for, fellow eyes."""
        return Loader(self.images, rows, batch_size, labels=self.labels, fellows=self.fellows, **options)  # type: ignore[arg-type]


def preprocess_of(settings: DataSettings) -> Preprocess:
    """The preprocessing that data settings ask for."""
    return Preprocess(settings.size, settings.crop, settings.fit, settings.channels)


def prepare(
    settings: DataSettings,
    manifest: Manifest,
    wants: Sequence[str] = (),
    target: Target | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    split: bool = True,
) -> Prepared:
    """Read labels, divide into splits where the manifest has none, and open the store.

    Args:
        settings: data settings of a recipe.
        manifest: the images.
        wants: batch fields that the adapter reads beyond the image.
        target: of a trained model; left out, as the settings or the manifest say.
        seed: of a division into splits.
        progress: called with images decoded and images in all.
        split: divide a manifest without splits by patient.

    Raises:
        DataError: a patient in two splits, unknown labels, images that cannot be read.
    """
    notices: list[str] = []
    if split:
        manifest = _with_splits(manifest, settings.val_fraction, seed, notices)
        refuse_shared_patients(manifest)
    if target is None:
        target = parse_target(settings.target, manifest.table) if settings.target else manifest.target
        own = manifest.target
        alike = own.kind == target.kind or (own.dense and target.dense)
        if settings.target and ":" not in settings.target and alike:
            target = own
    if is_anomaly(target):
        manifest = with_anomaly_labels(manifest)
    if target.dense:
        # The files of masks are read by what the manifest says of them, and every slice of a volume is an image.
        manifest = expanded(manifest.with_table(manifest.table.assign(target=target.spec)))
    labels = torch.from_numpy(target.encode(manifest.table))
    preprocess = preprocess_of(settings)
    workers = settings.workers or os.cpu_count() or 1
    images = open_images(manifest, preprocess, settings.store, settings.cache, workers, progress)
    fellows = fellow_rows(manifest) if FELLOW_IMAGE in wants else None
    if fellows is not None and not bool((fellows >= 0).any()):
        notices.append("no fellow eyes: the manifest has no patient with both lateralities, every eye stands alone")
    return Prepared(manifest, target, preprocess, images, labels, fellows, notices)


def measured_inputs(settings: DataSettings, prepared: Prepared) -> Inputs:
    """Inputs of the network; with ``normalize: auto`` mean and deviation are measured on training images."""
    inputs = fixed_inputs(settings)
    if settings.normalize != "auto":
        return inputs
    rows = prepared.rows("train")
    chosen = rows[torch.linspace(0, len(rows) - 1, min(len(rows), MEASURED_IMAGES)).long()]
    pixels = prepared.images.gather(chosen, [IMAGE])[IMAGE]
    mean = torch.stack([p.double().mean((1, 2)) for p in pixels]).mean(0) / 255
    spread = torch.stack([((p.double() / 255 - mean[:, None, None]) ** 2).mean((1, 2)) for p in pixels]).mean(0)
    return replace(inputs, mean=tuple(mean.tolist()), std=tuple(spread.sqrt().clamp(min=1e-3).tolist()))


def read_manifest(path: str | Path | None) -> Manifest:
    """The manifest of a run.

    Raises:
        DataError: none was given, or it cannot be read.
    """
    if path is None:
        raise DataError("no data given", do="name a manifest with --data FILE; make one with `scantling data import`")
    return Manifest.read(path)


def refuse_shared_patients(manifest: Manifest) -> None:
    """Stop when a patient's images lie in two splits.

    Raises:
        DataError: with the number of such patients and the first rows.
    """
    table = manifest.table
    if "patient" not in table or "split" not in table:
        return
    known = table[table["patient"].notna() & table["split"].notna()]
    counts = known.groupby("patient")["split"].nunique()
    shared = counts.index[counts > 1]
    if len(shared):
        rows = known.index[known["patient"] == shared[0]] + 2
        raise DataError(
            f"{len(shared)} patients have images in two splits, first in rows {', '.join(map(str, rows[:4]))}",
            where=manifest.source,
            do="run `scantling data split --by patient`",
        )


def _with_splits(manifest: Manifest, val_fraction: float, seed: int, notices: list[str]) -> Manifest:
    from scantling.data.split import split

    table = manifest.table
    stratify = "label" if "label" in table or any(str(c).startswith("label:") for c in table) else None
    if not manifest.has_splits:
        notices.append(f"no splits: {val_fraction:.0%} of the patients are held out for validation (seed {seed})")
        shares = (1 - val_fraction, val_fraction, 0.0)
        return split(manifest, by="patient", stratify=stratify, fractions=shares, seed=seed, notify=notices.append)
    if (table["split"] == "val").any() or not (table["split"] == "train").any():
        return manifest
    notices.append(f"no validation split: {val_fraction:.0%} of the training patients are held out (seed {seed})")
    train = Manifest(table[table["split"] == "train"].drop(columns="split"), manifest.folder, manifest.source)
    shares = (1 - val_fraction, val_fraction, 0.0)
    parted = split(train, by="patient", stratify=stratify, fractions=shares, seed=seed, notify=notices.append)
    new = table.copy()
    new.loc[table["split"] == "train", "split"] = parted.table["split"].to_numpy()
    return Manifest(new, manifest.folder, manifest.source)
