"""HC18 fetal heads: training_set_pixel_size_and_HC.csv (or labels.csv with ellipses) and images; masks are drawn."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from scantling.core.errors import DataError
from scantling.data.conic import fit_outline
from scantling.data.layouts._outlines import draw, masks_beside, shape_of
from scantling.data.shapes import fill_ellipses
from scantling.data.table import read_table
from scantling.data.wording import require_column

_TABLES = ("training_set_pixel_size_and_HC.csv", "test_set_pixel_size.csv", "labels.csv")
_PLACES = ("training_set", "test_set", "training_set/training_set", "test_set/test_set", "images", ".")
_NAME = re.compile(r"^(\d+)(?:_(\d*)HC)?")
_ELLIPSE = ("cx", "cy", "semi_a", "semi_b", "angle_deg")


def load(
    source: Path, image_folder: str | None = None, mask_folder: str | None = None, manifest: Path | None = None
) -> pd.DataFrame:
    """Patient, pixel spacing of the stored image, ``hc_mm``, and masks.

    A patient is a pregnancy: its frames have one number (``010_HC``, ``010_2HC``). In copies that give every image a
    number of its own, it is found from the order, see :func:`pregnancies`. Split by patient. A filled ellipse is drawn
    as the mask: that of the table, or the one that runs along the middle of the line in ``*_Annotation.png``. It stands
    in the columns ``cx``, ``cy``, ``semi_a``, ``semi_b`` in pixels of the stored image, and ``angle_deg``. From
    a ``labels.csv`` that describes the originals (``orig_w``), spacing and ellipse are converted. Images without either
    have no target.

    Args:
        source: the folder, or the table.
        image_folder: where the images lie, from the table's folder; else ``training_set/``, ``test_set/``,
            ``images/`` or the table's own.
        mask_folder: where the masks are put; else into a folder beside the manifest, named after it.
        manifest: the manifest that is being written; without it and a folder no masks are drawn.
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
    folder = _folder(source.parent, [image_folder] if image_folder else _PLACES, str(table["image"].iloc[0]))
    out = pd.DataFrame({"image": [str(folder / n) for n in table["image"]], "target": "none"})
    out["patient"] = pregnancies(table["image"].astype(str).tolist())
    scale = _scale(out["image"], table["orig_w"]) if "orig_w" in table else np.ones(len(table))
    spacing = table["pixel_mm"] * scale
    out["pixel_spacing"] = spacing.map(lambda v: None if np.isnan(v) else f"{v:.9g}")
    if "hc_mm" in table:
        out["hc_mm"] = table["hc_mm"]
    ellipses = _given(table, scale) if set(_ELLIPSE) <= set(table) else _annotated(out["image"])
    if ellipses is None:
        return out
    out[list(_ELLIPSE)] = np.round(ellipses, 3)
    out = out.assign(target="biometry:head", plane="head")
    if mask_folder or manifest is not None:
        home = Path(mask_folder) if mask_folder else masks_beside(manifest or source)
        out["mask"] = draw(out["image"].tolist(), home, _filled(ellipses))
    return out


def pregnancies(names: Sequence[str]) -> list[str | None]:
    """Which pregnancy each image shows.

    It is the number that a name begins with. Copies exist in which every image has another number, though some are the
    second or third of a pregnancy; they keep the order of the original names, in which the frames of a pregnancy follow
    one another as 2HC, 3HC, ..., HC. There a pregnancy ends with HC, or where the count does not grow, and has the
    number of its first frame. Where its HC is missing it may be joined with the next one, which harms no split.

    Args:
        names: of the images, such as ``010_2HC.png``.

    >>> pregnancies(["010_2HC.png", "010_HC.png", "011_HC.png"])
    ['010', '010', '011']
    >>> pregnancies(["1_HC.jpg", "2_2HC.jpg", "3_2HC.jpg", "4_3HC.jpg", "5_HC.jpg", "6_HC.jpg"])
    ['1', '2', '3', '3', '3', '6']
    """
    found = [_NAME.search(Path(name).name) for name in names]
    numbers = [None if match is None else match[1] for match in found]
    counts = [int(match[2]) if match is not None and match[2] else math.inf for match in found]
    known = [number for number in numbers if number is not None]
    if len(set(known)) < len(known) or all(count == math.inf for count in counts):
        return numbers
    patients: list[str | None] = [None] * len(names)
    last = math.inf
    current: str | None = None
    for place in sorted(
        (i for i, number in enumerate(numbers) if number is not None), key=lambda i: int(numbers[i] or 0)
    ):
        if last == math.inf or counts[place] <= last:
            current = numbers[place]
        patients[place], last = current, counts[place]
    return patients


def _table_in(folder: Path) -> Path:
    homes = [folder, *(folder / place for place in _PLACES[:4]), folder.parent]
    found = [home / name for home in homes for name in _TABLES if (home / name).is_file()]
    if not found:
        raise DataError(f"none of {', '.join(_TABLES)}", where=folder, do="name the table itself")
    return found[0]


def _folder(home: Path, places: tuple[str, ...] | list[str], first: str) -> Path:
    """The place that holds the first image; else the first one that there is."""
    there = [home / p for p in places if (home / p).is_dir()]
    return next((p for p in there if (p / first).is_file()), there[0] if there else home)


def _given(table: pd.DataFrame, scale: np.ndarray) -> np.ndarray:
    """Ellipses of the table ``(N, 5)`` in pixels of the stored images."""
    values = table[list(_ELLIPSE)].to_numpy(dtype=float, na_value=np.nan)
    values[:, :4] /= scale[:, None]
    return values


def _annotated(images: pd.Series) -> np.ndarray | None:
    """Ellipses ``(N, 5)`` along the lines of the annotations; None where no image has one."""
    files = [Path(path).with_name(f"{Path(path).stem}_Annotation.png") for path in images]
    if not any(file.is_file() for file in files):
        return None
    return np.array([_along(file) for file in files])


def _along(annotation: Path) -> list[float]:
    if not annotation.is_file():
        return [np.nan] * 5
    with Image.open(annotation) as image:
        row, column = np.nonzero(np.asarray(image.convert("L")) > 127)
    centre, axes, angle = fit_outline(np.stack([column, row], -1)[None].astype(float))
    if np.isnan(angle[0]):
        raise DataError("no ellipse in this annotation", where=annotation, do="give the outline as a white line")
    return [*centre[0].tolist(), *axes[0].tolist(), float(np.degrees(angle[0]))]


def _filled(ellipses: np.ndarray) -> Callable[[int, tuple[int, int]], np.ndarray | None]:
    def mask_of(number: int, shape: tuple[int, int]) -> np.ndarray | None:
        one = ellipses[number : number + 1]
        if np.isnan(one).any():
            return None
        return np.asarray(fill_ellipses(shape, one[:, :2], one[:, 2:4], np.radians(one[:, 4]))[0])

    return mask_of


def _scale(images: pd.Series, original_widths: pd.Series) -> np.ndarray:
    """Original pixels in a stored one, from the stored width; NaN where the image is missing or unreadable."""
    shapes = [shape_of(path) for path in images]
    return original_widths.to_numpy(dtype=float) / np.array([np.nan if s is None else s[1] for s in shapes])
