"""MedMNIST .npz files: {train,val,test}_images and _labels, with the official split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scantling.core.errors import DataError
from scantling.data.manifest import SPLITS
from scantling.data.wording import listed

_ORDINAL = ("retinamnist",)


def load(source: Path, target: str | None = None, classes: str | Sequence[str] | None = None) -> pd.DataFrame:
    """Rows that point into the archive: ``file.npz#train_images`` with the array's row as ``frame``.

    Args:
        source: the ``.npz``.
        target: ``grade``, ``class`` or a full spec; by default grade for RetinaMNIST, findings where an image has
            several labels, else class.
        classes: names of the classes or findings in the order of their numbers; without them the numbers are the names.
    """
    names = listed(classes)
    try:
        with np.load(source, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files if name.endswith("_labels")}
            images = {name for name in archive.files if name.endswith("_images")}
    except (OSError, ValueError) as error:
        raise DataError(
            f"not an archive of arrays ({error})", where=source, do="give the .npz of the data set"
        ) from error
    parts = [s for s in SPLITS if f"{s}_labels" in arrays and f"{s}_images" in images]
    if not parts:
        raise DataError("no arrays train_images and train_labels", where=source, do="give a MedMNIST .npz")
    rows = [_rows(source, split, arrays[f"{split}_labels"], names) for split in parts]
    table = pd.concat(rows, ignore_index=True)
    several = any(str(c).startswith("label:") for c in table)
    ordinal = source.stem.lower().startswith(_ORDINAL) and not names
    table["target"] = target or ("findings" if several else "grade" if ordinal else _class_spec(names))
    return table


def _rows(source: Path, split: str, labels: np.ndarray, names: list[str]) -> pd.DataFrame:
    labels = labels.reshape(len(labels), -1)
    columns: dict[str, object] = {"image": f"{source}#{split}_images", "frame": np.arange(len(labels)), "split": split}
    if labels.shape[1] == 1:
        largest = int(labels.max(initial=0))
        if names and largest >= len(names):
            raise DataError(f"label {largest}, but {len(names)} class names", where=source, do="name all classes")
        columns["label"] = [names[i] if names else str(i) for i in labels[:, 0].tolist()]
    elif names and len(names) != labels.shape[1]:
        raise DataError(f"{labels.shape[1]} findings, {len(names)} names", where=source, do="name all findings")
    else:
        for k, name in enumerate(names or map(str, range(labels.shape[1]))):
            columns[f"label:{name}"] = labels[:, k]
    return pd.DataFrame(columns)


def _class_spec(names: list[str]) -> str:
    return f"class:{'|'.join(names)}" if names else "class"
