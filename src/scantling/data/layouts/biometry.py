"""Fetal biometry: a table of frames with their plane, pixel size, and a mask or the ends of callipers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from scantling.core.errors import DataError, nearest
from scantling.core.target import PLANES
from scantling.data.conic import rescale
from scantling.data.layouts._outlines import draw, masks_beside
from scantling.data.shapes import fill_ellipses, fill_rectangles
from scantling.data.table import read_table
from scantling.data.wording import require_column, splits_from

_TEXT = {"image", "filename", "patient", "mask", "plane", "split", "site"}
_MEASURES = {"head": "hc_mm", "abdomen": "ac_mm", "femur": "fl_mm"}
_FIRST, _SECOND = ("x1", "y1", "x2", "y2"), ("x3", "y3", "x4", "y4")


def load(
    source: Path,
    image_folder: str | None = None,
    mask_folder: str | None = None,
    femur_width: float = 0.12,
    manifest: Path | None = None,
) -> pd.DataFrame:
    """Columns ``filename`` (or ``image``), ``plane``, ``pixel_mm_x`` and ``pixel_mm_y`` (or one ``pixel_mm``),
    ``patient``, and ``mask`` or callipers; ``measure_mm`` becomes ``hc_mm``, ``ac_mm`` or ``fl_mm``.

    Callipers are ``x1, y1, x2, y2``, ends of the first diameter or of the femur, and ``x3, y3, x4, y4``, ends of the
    second diameter, in pixels from the centre of the first pixel. From them the filled ellipse or the filled rectangle
    is drawn: the first diameter gives the direction of the ellipse, both their lengths.

    Args:
        source: the table, or a folder that holds just one.
        image_folder: where images and masks lie, from the table's folder; else there, or in ``images/`` beside it.
        mask_folder: where drawn masks are put; else into a folder beside the manifest, named after it.
        femur_width: width of rectangles that are drawn from callipers, as a share of their length.
        manifest: the manifest that is being written; without it and a folder no masks are drawn.
    """
    source = _table_in(source) if source.is_dir() else source
    table = read_table(source, _TEXT).rename(columns={"filename": "image"})
    for column in ("image", "plane"):
        require_column(table, column, source)
    planes = _planes(table["plane"], source)
    home = source.parent / image_folder if image_folder else _home(source.parent, str(table["image"].iloc[0]))
    out = pd.DataFrame({"image": [str(home / n) for n in table["image"]], "plane": planes})
    out["target"] = f"biometry:{'|'.join(p for p in PLANES if p in set(planes))}"
    for column in ("patient", "site"):
        if column in table:
            out[column] = table[column]
    if "split" in table:
        out["split"] = splits_from(table["split"], source)
    spacing = _spacing(table)
    texts = [None if np.isnan(row).any() else "\\".join(f"{v:.9g}" for v in row) for row in spacing]
    out["pixel_spacing"] = texts
    if "measure_mm" in table:
        for plane, column in _MEASURES.items():
            if plane in set(planes):
                out[column] = table["measure_mm"].where(pd.Series(planes, index=table.index) == plane)
    own = table["mask"] if "mask" in table else pd.Series([None] * len(table), dtype="object")
    masks = [None if pd.isna(name) else str(home / str(name)) for name in own]
    if set(_FIRST) <= set(table) and (mask_folder or manifest is not None):
        folder = Path(mask_folder) if mask_folder else masks_beside(manifest or source)
        shapes = _shapes(table, planes, spacing, femur_width)
        drawn = draw(out["image"].tolist(), folder, lambda i, shape: None if masks[i] else shapes(i, shape))
        masks = [mask or new for mask, new in zip(masks, drawn, strict=True)]
    if any(masks):
        out["mask"] = masks
    return out


def _table_in(folder: Path) -> Path:
    found = sorted(folder.glob("*.csv"))
    if len(found) != 1:
        what = "no table" if not found else f"not just one table ({', '.join(f.name for f in found)})"
        raise DataError(what, where=folder, do="name the table itself")
    return found[0]


def _home(folder: Path, first: str) -> Path:
    return folder / "images" if not (folder / first).is_file() and (folder / "images").is_dir() else folder


def _planes(column: pd.Series, source: Path) -> list[str]:
    names = ["" if pd.isna(v) else str(v).strip().lower() for v in column]
    for row, name in enumerate(names):
        if name not in PLANES:
            raise DataError(
                f"unknown plane '{name}'{nearest(name, PLANES)}", where=f"{source}, row {row + 2}",
                do=f"use one of {', '.join(PLANES)}",
            )  # fmt: skip
    return names


def _spacing(table: pd.DataFrame) -> np.ndarray:
    """Millimetres between rows and between columns, ``(N, 2)``; NaN where not known."""
    columns = ("pixel_mm_y", "pixel_mm_x") if "pixel_mm_x" in table else ("pixel_mm", "pixel_mm")
    if columns[0] not in table:
        return np.full((len(table), 2), np.nan)
    return table[list(columns)].to_numpy(dtype=float, na_value=np.nan)


def _shapes(
    table: pd.DataFrame, planes: list[str], spacing: np.ndarray, femur_width: float
) -> Callable[[int, tuple[int, int]], np.ndarray | None]:
    """What draws the shape between the callipers of a row; shapes are built in millimetres where they are known."""
    known = [*_FIRST, *(_SECOND if set(_SECOND) <= set(table) else ())]
    points = table[known].to_numpy(dtype=float, na_value=np.nan).reshape(len(table), -1, 2)
    factors = np.where(np.isnan(spacing), 1.0, spacing)

    def shape(number: int, size: tuple[int, int]) -> np.ndarray | None:
        factor = factors[number][::-1]
        ends = points[number] * factor
        line = ends[1] - ends[0]
        angle, length = np.array([np.arctan2(line[1], line[0])]), float(np.hypot(*line))
        if planes[number] == "femur":
            if np.isnan(length):
                return None
            sides = np.array([[length, femur_width * length]])
            return np.asarray(fill_rectangles(size, ends[:2].mean(0)[None], sides, angle, factors[number])[0])
        if len(ends) < 4 or np.isnan(ends).any():
            return None
        semi_axes = np.array([[length, float(np.hypot(*(ends[3] - ends[2])))]]) / 2
        ellipse = rescale(ends.mean(0)[None], semi_axes, angle, 1 / factor)
        return np.asarray(fill_ellipses(size, *ellipse)[0])

    return shape
