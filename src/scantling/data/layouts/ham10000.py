"""HAM10000 skin lesions (dermatoscopy): HAM10000_metadata.csv and one or two folders of images."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from scantling.core.errors import DataError
from scantling.data.table import read_table
from scantling.data.wording import require_column

DIAGNOSES = {"mel": "MEL", "nv": "NV", "bcc": "BCC", "akiec": "AKIEC", "bkl": "BKL", "df": "DF", "vasc": "VASC"}
"""Words of the metadata, and what the ISIC challenges call them, in the order of their columns."""

_FOLDERS = ("HAM10000_images_part_1", "HAM10000_images_part_2", "HAM10000_images", "images", ".")


def load(source: Path, image_folder: str | None = None, suffix: str = ".jpg") -> pd.DataFrame:
    """One of seven diagnoses an image, several images a lesion. The lesion is the patient: the nearest that is known.

    Args:
        source: the metadata table, or the folder with it.
        image_folder: where the images lie, from the table's folder; else the two parts as they are published,
            ``HAM10000_images/``, ``images/``, or the table's own folder, whichever has the image.
        suffix: end of the file names.
    """
    table_file = source if source.is_file() else next(iter(sorted(source.rglob("HAM10000_metadata*.csv"))), None)
    if table_file is None:
        raise DataError("no table HAM10000_metadata.csv", where=source, do="name the table itself")
    table = read_table(table_file, {"lesion_id", "image_id"})
    for column in ("lesion_id", "image_id", "dx"):
        require_column(table, column, table_file)
    words = table["dx"].astype("string").str.strip().str.lower()
    unknown = words[words.notna() & ~words.isin(list(DIAGNOSES))]
    if len(unknown):
        raise DataError(
            f"unknown diagnosis '{unknown.iloc[0]}'", where=f"{table_file}, row {unknown.index[0] + 2}",
            do=f"use one of {', '.join(DIAGNOSES)}",
        )  # fmt: skip
    names = [image_folder] if image_folder else [n for n in _FOLDERS if (table_file.parent / n).is_dir()]
    folders = [table_file.parent / name for name in names]
    there = {file.name: file for folder in reversed(folders) for file in folder.glob(f"*{suffix}")}
    files = [f"{name}{suffix}" for name in table["image_id"]]
    out = pd.DataFrame({"image": [str(there.get(f, folders[0] / f)) for f in files], "label": words.map(DIAGNOSES)})
    out["target"] = f"class:{'|'.join(DIAGNOSES.values())}"
    out["lesion"] = table["lesion_id"]
    out["patient"] = table["lesion_id"]
    kept = [c for c in ("dx_type", "age", "sex", "localization") if c in table]
    return pd.concat([out, table[kept]], axis=1)
