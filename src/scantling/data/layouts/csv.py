"""Any table (CSV or Parquet) of image names, with options that say which column is what."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from scantling.core.errors import DataError
from scantling.data.readers import is_image
from scantling.data.readers.region import Region
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
    x: str | None = None,
    y: str | None = None,
    box: int | None = None,
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
        x: column of the horizontal centre of a box in pixels, for rows that are parts of images: cells, lesions.
        y: column of its vertical centre.
        box: side of the box in pixels.
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
    centre = _centre_columns(x, y, box)
    for column in (image, *given.values(), *wanted, *kept, *centre):
        require_column(table, column, source)
    taken = {name: name for name in _TAKEN if name in table and name not in wanted} | given
    out = pd.DataFrame({"image": _paths(table[image], source, image_folder, "images", suffix)})
    if centre and box:
        out["image"] = _boxes(out["image"], table[centre[0]], table[centre[1]], int(box), source)
    for name, column in taken.items():
        out[name] = table[column]
    if number is not None:
        out["pixel_spacing"] = str(number)
    for name in table.columns:
        if (str(name).startswith("mask:") or name == "roi") and name not in out:
            out[name] = table[name]
    for name in [c for c in out.columns if c in {"mask", "roi"} or c.startswith("mask:")]:
        out[name] = _paths(out[name], source, mask_folder, "masks", suffix)
    if "split" in out:
        out["split"] = splits_from(out["split"], source)
    for name in wanted:
        out[f"label:{name}"] = table[name].where(pd.to_numeric(table[name], errors="coerce") != -1)
    for name in table.columns:
        if str(name).startswith("label:") and name not in out:
            out[name] = table[name]
    out["target"] = target or _suggested(out)
    return out.assign(**{name: table[name] for name in kept})


def _centre_columns(x: str | None, y: str | None, box: int | None) -> tuple[str, ...]:
    if x is None and y is None and box is None:
        return ()
    if x is None or y is None or box is None or int(box) < 1:
        raise DataError("boxes need three options", do="give x and y, columns of centres, and box, the side")
    return x, y


def _boxes(paths: pd.Series, x: pd.Series, y: pd.Series, side: int, source: Path) -> pd.Series:
    """Paths with the box round each centre."""
    left, top = (pd.to_numeric(c, errors="coerce").sub(side / 2).round() for c in (x, y))
    wrong = (left.isna() | top.isna()).to_numpy().nonzero()[0]
    if len(wrong):
        raise DataError("no number as the centre of a box", where=f"{source}, row {wrong[0] + 2}", do="correct it")
    boxes = [Region(int(a), int(b), side, side) for a, b in zip(left, top, strict=True)]
    return pd.Series([f"{p}#{b}" for p, b in zip(paths, boxes, strict=True)], index=paths.index)


def _suggested(table: pd.DataFrame) -> str:
    if any(str(c).startswith("label:") for c in table):
        return "findings"
    if "label" in table:
        return "class"
    if any(str(c).startswith("mask:") for c in table.columns):
        return "masks"
    return "mask" if "mask" in table else "none"


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
