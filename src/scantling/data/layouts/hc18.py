"""HC18 fetal heads: training_set_pixel_size_and_HC.csv (or labels.csv with ellipses) and images; a size, no label."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from scantling.core.errors import DataError
from scantling.data.table import read_table
from scantling.data.wording import require_column

_TABLES = ("training_set_pixel_size_and_HC.csv", "test_set_pixel_size.csv", "labels.csv")


def load(source: Path, image_folder: str | None = None) -> pd.DataFrame:
    """Patient from the number that the name begins with, pixel spacing of the stored image, column ``hc_mm``.

    From a ``labels.csv`` that describes the originals (``orig_w``), spacing and ellipse (``cx``, ``cy``, ``semi_a``,
    ``semi_b``) are converted to pixels of the stored images; ``angle_deg`` stays.

    Args:
        source: the folder, or the table.
        image_folder: where the images lie, from the table's folder; else ``training_set/``, ``test_set/``,
            ``images/`` or the table's own.
    """
    source = _table_in(source) if source.is_dir() else source
    table = read_table(source, {"image", "filename"}).rename(
        columns={
            "filename": "image", "pixel size(mm)": "pixel_mm", "pixel size (mm)": "pixel_mm",
            "head circumference (mm)": "hc_mm", "head circumference(mm)": "hc_mm",
        }
    )  # fmt: skip
    for column in ("image", "pixel_mm"):
        require_column(table, column, source)
    places = [image_folder] if image_folder else ["training_set", "test_set", "images", "."]
    folder = next((source.parent / p for p in places if (source.parent / p).is_dir()), source.parent)
    out = pd.DataFrame({"image": [str(folder / n) for n in table["image"]], "target": "none"})
    out["patient"] = [m.group() if (m := re.match(r"\d+", n)) else None for n in table["image"]]
    scale = _scale(out["image"], table["orig_w"]) if "orig_w" in table else np.ones(len(table))
    spacing = table["pixel_mm"] * scale
    out["pixel_spacing"] = spacing.map(lambda v: None if np.isnan(v) else f"{v:.9g}")
    if "hc_mm" in table:
        out["hc_mm"] = table["hc_mm"]
    for column in ("cx", "cy", "semi_a", "semi_b"):
        if column in table:
            out[column] = (table[column] / scale).round(3)
    return out.assign(angle_deg=table["angle_deg"]) if "angle_deg" in table else out


def _table_in(folder: Path) -> Path:
    found = [folder / name for name in _TABLES if (folder / name).is_file()]
    if not found:
        raise DataError(f"none of {', '.join(_TABLES)}", where=folder, do="name the table itself")
    return found[0]


def _scale(images: pd.Series, original_widths: pd.Series) -> np.ndarray:
    """Original pixels in a stored one, from the stored width; NaN where the image is missing or unreadable."""
    return original_widths.to_numpy(dtype=float) / np.array([_width(path) for path in images])


def _width(path: str) -> float:
    try:
        with Image.open(path) as image:
            return image.width
    except OSError:
        return np.nan
