"""ISIC 2018 and 2019 skin lesions: *GroundTruth.csv with a column a diagnosis, and a folder of images."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from scantling.core.errors import DataError
from scantling.data.table import read_table
from scantling.data.wording import SPLIT_WORDS, require_column

_UNKNOWN = "UNK"


def load(
    source: Path, image_folder: str | None = None, metadata: str | None = None, suffix: str = ".jpg"
) -> pd.DataFrame:
    """One class an image. The lesion is taken as the patient, where the metadata name it: the nearest that is known;
    it stands in a column ``lesion`` too.

    Args:
        source: a ground-truth table, or a folder with one or more; with several, Training, Validation and Test in
            their names give the split.
        image_folder: where the images lie, from the table's folder; else the folder named as the table without
            ``_GroundTruth`` (with ``_Input``), ``images/``, or the table's own.
        metadata: table with ``image`` and ``lesion_id``, from the table's folder; else the one found there.
        suffix: end of the file names.
    """
    tables = [source] if source.is_file() else sorted(source.rglob("*GroundTruth*.csv"))
    if not tables:
        raise DataError("no table *GroundTruth*.csv", where=source, do="name the table itself")
    out = pd.concat([_rows(t, image_folder, suffix, len(tables) > 1) for t in tables], ignore_index=True)
    folder = source if source.is_dir() else source.parent
    lesions = _lesions(folder / metadata if metadata else _metadata(folder))
    if lesions is not None:
        out["lesion"] = [lesions.get(Path(image).stem) for image in out["image"]]
        out["patient"] = out["lesion"]
    return out


def _rows(source: Path, image_folder: str | None, suffix: str, several: bool) -> pd.DataFrame:
    table = read_table(source, {"image"})
    require_column(table, "image", source)
    marks = table.drop(columns="image").apply(pd.to_numeric, errors="coerce")
    marks = marks.loc[:, marks.notna().any()]
    if ((marks > 0.5).sum(axis=1) > 1).any():
        row = int(((marks > 0.5).sum(axis=1) > 1).to_numpy().argmax())
        raise DataError("two diagnoses for one image", where=f"{source}, row {row + 2}", do="correct the table")
    classes = [c for c in marks if c != _UNKNOWN or (marks[c] > 0.5).any()]
    if not classes:
        raise DataError("no column of a diagnosis", where=source, do="give an ISIC ground-truth table")
    label = marks[classes].idxmax(axis=1).where((marks[classes] > 0.5).any(axis=1))
    base = source.stem.replace("_GroundTruth", "")
    places = [image_folder] if image_folder else [f"{base}_Input", base, "images", "."]
    folder = next((source.parent / p for p in places if (source.parent / p).is_dir()), source.parent)
    out = pd.DataFrame({"image": [str(folder / f"{n}{suffix}") for n in table["image"]], "label": label})
    out["target"] = f"class:{'|'.join(map(str, classes))}"
    word = next((w for w in source.stem.lower().split("_") if w in SPLIT_WORDS), None)
    return out.assign(split=SPLIT_WORDS[word]) if several and word else out


def _metadata(folder: Path) -> Path | None:
    return next(iter(sorted([*folder.rglob("*LesionGroupings*.csv"), *folder.rglob("*etadata*.csv")])), None)


def _lesions(source: Path | None) -> dict[str, str] | None:
    if source is None:
        return None
    table = read_table(source, {"image", "lesion_id"})
    for column in ("image", "lesion_id"):
        require_column(table, column, source)
    known = table.dropna(subset=["lesion_id"])
    return dict(zip(known["image"], known["lesion_id"], strict=True))
