"""Any table (CSV or Parquet) of image names, with options that say which column is what."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from scantling.core.errors import DataError
from scantling.data.readers import is_image
from scantling.data.table import read_table
from scantling.data.wording import listed, require_column, splits_from

_TAKEN = ("label", "mask", "text", "patient", "site", "laterality", "view", "split", "pixel_spacing", "frame")


def load(
    source: Path,
    image: str = "image",
    label: str | None = None,
    mask: str | None = None,
    text: str | None = None,
    patient: str | None = None,
    site: str | None = None,
    laterality: str | None = None,
    view: str | None = None,
    split: str | None = None,
    pixel_spacing: str | float | None = None,
    frame: str | None = None,
    target: str | None = None,
    findings: str | Sequence[str] | None = None,
    image_folder: str | os.PathLike[str] | None = None,
    mask_folder: str | os.PathLike[str] | None = None,
    suffix: str = "",
    keep: str | Sequence[str] | None = None,
) -> pd.DataFrame:
    """Rows of a table. A column that already bears one of our names need not be given.

    Args:
        source: the table, or a folder that holds just one.
        image: column of the image names or paths.
        label: column of the grade or class.
        mask: column of the mask names or paths.
        text: column of the report.
        patient: column of the patient.
        site: column of the hospital, camera or study.
        laterality: column of the side.
        view: column of the view.
        split: column of the split (train, valid, testing, ... are understood).
        pixel_spacing: column of the millimetres, or one number for all images.
        frame: column of the slice or frame.
        target: ``grade``, ``class``, ``findings``, ``mask`` or a full spec; else what the columns suggest.
        findings: columns with 1, 0 or nothing; -1 (uncertain) is taken as nothing.
        image_folder: where the images lie, from the table's folder; else there, or in ``images/`` beside it.
        mask_folder: the same for masks, with ``masks/``.
        suffix: end of the file names, where the table leaves it out: ``.png``.
        keep: further columns to keep.
    """
    source = _table_in(source) if source.is_dir() else source
    number = _number(pixel_spacing)
    asked = {
        "label": label, "mask": mask, "text": text, "patient": patient, "site": site, "laterality": laterality,
        "view": view, "split": split, "frame": frame, "pixel_spacing": None if number else pixel_spacing,
    }  # fmt: skip
    given = {name: str(column) for name, column in asked.items() if column is not None}
    table = read_table(source, {image, *given.values(), *_TAKEN})
    wanted, kept = listed(findings), listed(keep)
    for column in (image, *given.values(), *wanted, *kept):
        require_column(table, column, source)
    taken = {name: name for name in _TAKEN if name in table and name not in wanted} | given
    out = pd.DataFrame({"image": _paths(table[image], source, image_folder, "images", suffix)})
    for name, column in taken.items():
        out[name] = table[column]
    if number is not None:
        out["pixel_spacing"] = str(number)
    if "mask" in out:
        out["mask"] = _paths(out["mask"], source, mask_folder, "masks", suffix)
    if "split" in out:
        out["split"] = splits_from(out["split"], source)
    for name in wanted:
        out[f"label:{name}"] = table[name].where(pd.to_numeric(table[name], errors="coerce") != -1)
    for name in table.columns:
        if str(name).startswith("label:") and name not in out:
            out[name] = table[name]
    out["target"] = target or _suggested(out)
    return out.assign(**{name: table[name] for name in kept})


def _suggested(table: pd.DataFrame) -> str:
    if any(str(c).startswith("label:") for c in table):
        return "findings"
    return "class" if "label" in table else "mask" if "mask" in table else "none"


def _number(value: str | float | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def _table_in(folder: Path) -> Path:
    tables = sorted(p for p in folder.iterdir() if p.suffix.lower() in {".csv", ".tsv", ".parquet"})
    if len(tables) != 1:
        found = ", ".join(t.name for t in tables) or "none"
        raise DataError(f"not just one table ({found})", where=folder, do="name the table itself")
    return tables[0]


def _paths(
    column: pd.Series, source: Path, folder: str | os.PathLike[str] | None, usual: str, suffix: str
) -> pd.Series:
    """Paths that can be opened from the working folder."""
    whole = column.map(
        lambda name: None if pd.isna(name) else _with_suffix(str(name).strip().replace("\\", "/"), suffix)
    ).astype("object")
    if folder is not None:
        base = source.parent / folder
        base = base if base.is_dir() or not Path(folder).is_dir() else Path(folder)
        if not base.is_dir():
            raise DataError("no such folder", where=base, do="give the folder as seen from the table or from here")
    else:
        first = [source.parent / n for n in whole.dropna().head(50)]
        second = [source.parent / usual / n for n in whole.dropna().head(50)]
        base = source.parent
        if sum(map(os.path.isfile, second)) > sum(map(os.path.isfile, first)):
            base = source.parent / usual
    return whole.map(lambda name: None if name is None else str(base / name))


def _with_suffix(name: str, suffix: str) -> str:
    return name if not suffix or name.endswith(suffix) or is_image(Path(name)) else name + suffix
