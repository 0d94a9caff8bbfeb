"""NIH ChestX-ray14: Data_Entry_2017.csv, train_val_list.txt, test_list.txt and images*/."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from scantling.core.errors import DataError
from scantling.data.table import read_table
from scantling.data.wording import require_column

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip

_SPACING = {  # the header's commas break its last names apart
    "width": "OriginalImage[Width", "height": "Height]", "x": "OriginalImagePixelSpacing[x", "y": "y]",
}  # fmt: skip


def load(source: Path, image_folder: str | None = None, size: int = 1024) -> pd.DataFrame:
    """Fourteen findings an image. The official lists give train and test; take val from train by ``split``.

    Args:
        source: the folder, or the table (``Data_Entry_2017*.csv``).
        image_folder: where the images lie, from the table's folder; else any folder ``images*`` beside it.
        size: side of the stored images in pixels: the table's pixel spacing is that of the originals.
    """
    source = _table_in(source) if source.is_dir() else source
    table = read_table(source, {"Image Index", "Finding Labels", "Patient ID", "View Position"})
    for column in ("Image Index", "Finding Labels", "Patient ID"):
        require_column(table, column, source)
    names = table["Image Index"]
    found = table["Finding Labels"].fillna("").map(lambda cell: {f.strip() for f in str(cell).split("|")})
    stray = sorted(set().union(*found) - {*FINDINGS, "No Finding", ""})
    if stray:
        raise DataError(f"unknown finding '{stray[0]}'", where=source, do="correct the table")
    out = pd.DataFrame({"image": _places(names, source.parent, image_folder), "patient": table["Patient ID"]})
    if "View Position" in table:
        out["view"] = table["View Position"]
    if all(c in table for c in _SPACING.values()):
        out["pixel_spacing"] = _spacing(table, size)
    test, rest = (_list(source.parent / f) for f in ("test_list.txt", "train_val_list.txt"))
    if test or rest:
        out["split"] = ["test" if n in test else "train" if n in rest else None for n in names]
    for finding in FINDINGS:
        out[f"label:{finding}"] = [int(finding in cell) for cell in found]
    return out.assign(target=f"findings:{'|'.join(FINDINGS)}")


def _table_in(folder: Path) -> Path:
    found = sorted(folder.glob("Data_Entry_2017*.csv"))
    if not found:
        raise DataError("no table Data_Entry_2017*.csv", where=folder, do="name the table itself")
    return found[0]


def _places(names: pd.Series, folder: Path, image_folder: str | None) -> list[str]:
    places = [folder / image_folder] if image_folder else sorted(p for p in folder.glob("images*") if p.is_dir())
    present = {f.name: f for place in places for f in place.rglob("*.png")}
    default = places[0] if places else folder
    return [str(present.get(n, default / n)) for n in names]


def _spacing(table: pd.DataFrame, size: int) -> pd.Series:
    numbers = {k: pd.to_numeric(table[c], errors="coerce") for k, c in _SPACING.items()}
    rows, columns = numbers["y"] * numbers["height"] / size, numbers["x"] * numbers["width"] / size
    text = rows.map("{:.6g}".format) + "\\" + columns.map("{:.6g}".format)
    return text.where((rows > 0) & (columns > 0))


def _list(path: Path) -> set[str]:
    return set(path.read_text(encoding="utf-8").split()) if path.is_file() else set()
