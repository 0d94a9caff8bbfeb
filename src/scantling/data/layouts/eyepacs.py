"""EyePACS (Kaggle 2015): trainLabels.csv, retinopathy_solution.csv and <patient>_<left|right>.jpeg."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from scantling.core.errors import DataError
from scantling.data.eyes import eye_of
from scantling.data.table import read_table
from scantling.data.wording import require_column, splits_from


def load(source: Path, image_folder: str | None = None, suffix: str = ".jpeg") -> pd.DataFrame:
    """Grades 0 to 4; patient and side from the names; Usage Public is val, Private is test.

    Args:
        source: a table with the columns ``image, level[, Usage]``, or a folder with ``trainLabels.csv`` and (or)
            ``retinopathy_solution.csv``. Rows without ``Usage`` are train where others have one.
        image_folder: where the images lie, from the table's folder; else ``train/``, ``test/``, ``images/`` or the
            table's folder, wherever the image is.
        suffix: end of the file names (resized copies are often ``.png``).
    """
    tables = [source] if source.is_file() else _tables(source)
    out = pd.concat([_rows(t, image_folder, suffix) for t in tables], ignore_index=True)
    if "split" in out:
        out["split"] = out["split"].fillna("train")
    return out.assign(target="grade:5")


def _tables(folder: Path) -> list[Path]:
    found = [folder / name for name in ("trainLabels.csv", "retinopathy_solution.csv") if (folder / name).is_file()]
    if not found:
        raise DataError("no trainLabels.csv or retinopathy_solution.csv", where=folder, do="name the table itself")
    return found


def _rows(source: Path, image_folder: str | None, suffix: str) -> pd.DataFrame:
    table = read_table(source, {"image", "level"})
    for column in ("image", "level"):
        require_column(table, column, source)
    folders = [source.parent / f for f in ([image_folder] if image_folder else ["train", "test", "images", "."])]
    present = {f: {p.name for p in f.iterdir()} for f in folders if f.is_dir()}
    files = [n if n.endswith(suffix) else n + suffix for n in table["image"]]
    default = next(iter(present), folders[0])
    eyes = [eye_of(Path(f).stem) for f in files]
    out = pd.DataFrame(
        {
            "image": [str(next((d for d, names in present.items() if f in names), default) / f) for f in files],
            "label": table["level"],
            "patient": [patient for patient, _ in eyes],
            "laterality": [side for _, side in eyes],
        }
    )
    return out.assign(split=splits_from(table["Usage"], source)) if "Usage" in table else out
