"""The manifest: one table, one row an image, the only way in which data enters.

Reserved columns (only ``image`` is required; any others are kept):

===================  ============================================================================================
``image``            path, relative to the manifest's folder or absolute; a part of a container after ``#``:
                     ``retina.npz#train_images``, ``volume.nii.gz#axial``
``frame``            number of the slice, frame or row inside ``image``; empty for the only or first one, with masks
                     for all of them
``label``            one label an image (grades and classes); ``label:<finding>`` 0, 1 or empty (findings)
``target``           spec of the target, the same in all rows: ``grade:5``, ``class:a|b``, ``findings``, ``none``
``mask``             path of a mask, written as ``image`` is; ``mask:<structure>`` one a structure that may overlap
``roi``              path of the field of view (``fov`` is read as this): mask pixels outside it have no class
``text``             a report or caption
``patient``          whose image it is: never divided between splits, never copied into results
``site``             where it comes from: a hospital, a camera, a study
``laterality``       ``left`` or ``right``
``view``             PA, AP, lateral, four-chamber, ...
``pixel_spacing``    millimetres between rows and between columns, ``0.2\\0.2``, or one number for both
``split``            ``train``, ``val`` or ``test``
===================  ============================================================================================
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from scantling.core.errors import DataError, nearest
from scantling.core.files import writing
from scantling.core.target import Target, target_of
from scantling.data.readers.region import parse_region
from scantling.data.table import read_table

SPLITS = ("train", "val", "test")
PATH_COLUMNS = ("image", "mask", "roi", "organ", "structures")
TEXT_COLUMNS = (
    "image", "label", "target", "mask", "roi", "text", "patient", "site", "laterality", "view", "pixel_spacing",
    "split",
)  # fmt: skip
COLUMNS = (*TEXT_COLUMNS, "frame")
CONTAINERS = (".npz", ".nii", ".nii.gz", ".h5")
"""Suffixes of files that hold named parts: only behind these does ``#`` begin a part's name."""

_LATERALITIES = {
    "l": "left", "os": "left", "le": "left", "left": "left",
    "r": "right", "od": "right", "re": "right", "right": "right",
}  # fmt: skip


class Manifest:
    """A checked table of images and the folder that its relative paths start from.

    Args:
        table: one row an image, with a column ``image``; it is copied, its index becomes 0 ... N-1.
        folder: where relative paths start.
        source: the file it was read from, named in errors.

    Raises:
        DataError: no column ``image`` or an empty cell in it, a split that is not train, val or test, a laterality
            that is not left or right, a frame that is not a whole number from 0.

    >>> m = Manifest(pd.DataFrame({"image": ["a.png", "b.npz#x"], "laterality": ["OS", "R"]}), Path("/data"))
    >>> m.path(1), m.table["laterality"].tolist()
    ((PosixPath('/data/b.npz'), 'x'), ['left', 'right'])
    """

    def __init__(self, table: pd.DataFrame, folder: str | os.PathLike[str] = ".", source: Path | None = None) -> None:
        self.folder = Path(folder)
        self.source = source
        self.table = self._validated(table.reset_index(drop=True))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Manifest:
        """A manifest from a CSV or Parquet file.

        Raises:
            DataError: see :class:`Manifest`, or a file that is no table.
        """
        file = Path(path)
        return cls(read_table(file, TEXT_COLUMNS), file.parent, file)

    def write(self, path: str | os.PathLike[str]) -> Manifest:
        """Write the table, whole or not at all; relative paths are rewritten for the folder of ``path``.

        Args:
            path: a file ending in ``.csv`` or ``.parquet``.

        Returns:
            The manifest as it now lies there.

        Raises:
            DataError: another suffix.
            ScantlingError: the file cannot be written.
        """
        file = Path(path)
        if file.suffix.lower() not in {".csv", ".parquet"}:
            raise DataError("a manifest is CSV or Parquet", where=file, do="end the name in .csv or .parquet")
        moved = self._anchored(file.parent)
        with writing(file) as part:
            if file.suffix.lower() == ".parquet":
                moved.to_parquet(part, index=False)
            else:
                moved.to_csv(part, index=False, lineterminator="\n")
        return Manifest(moved, file.parent, file)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def target(self) -> Target:
        """What the labels say: the column ``target``, else what the columns suggest."""
        return target_of(self.table)

    @property
    def has_splits(self) -> bool:
        """Whether any row names a split."""
        return "split" in self.table and bool(self.table["split"].notna().any())

    def split(self, name: str) -> np.ndarray:
        """Row positions ``(n,)`` of one split, ascending.

        Raises:
            DataError: a name that is not train, val or test.
        """
        if name not in SPLITS:
            raise DataError(f"unknown split '{name}'{nearest(name, SPLITS)}", do=f"use one of {', '.join(SPLITS)}")
        if "split" not in self.table:
            return np.empty(0, dtype=np.int64)
        return np.flatnonzero((self.table["split"] == name).fillna(False).to_numpy(dtype=bool))

    def path(self, row: int, column: str = "image") -> tuple[Path, str | None]:
        """File of a row and the part inside it.

        Raises:
            DataError: the column is missing, or empty in this row.
        """
        value = self.table[column].iloc[row] if column in self.table else None
        if not isinstance(value, str) or not value:
            raise DataError(f"no {column}", where=self._where(row), do=f"fill in the column '{column}'")
        file, part = split_part(value)
        return self.folder / file, part

    def frame(self, row: int) -> int | None:
        """Number of the slice, frame or array row that a row of the manifest means; None for the only one."""
        if "frame" not in self.table:
            return None
        value = self.table["frame"].iloc[row]
        return None if pd.isna(value) else int(value)

    def spacing(self, row: int) -> tuple[float, float] | None:
        """Millimetres between rows and between columns, where known.

        Raises:
            DataError: a cell that is not one or two positive numbers.
        """
        value = self.table["pixel_spacing"].iloc[row] if "pixel_spacing" in self.table else None
        try:
            return parse_spacing(value)
        except DataError as error:
            raise DataError(error.what, where=self._where(row), do=error.do) from None

    def select(self, rows: np.ndarray) -> Manifest:
        """The manifest of some rows, in the order given."""
        return Manifest(self.table.iloc[rows], self.folder, self.source)

    def with_table(self, table: pd.DataFrame) -> Manifest:
        """Another table over the same folder."""
        return Manifest(table, self.folder, self.source)

    def _where(self, row: int) -> str:
        return f"row {row + 2}" if self.source is None else f"{self.source}, row {row + 2}"

    def _validated(self, table: pd.DataFrame) -> pd.DataFrame:
        if "image" not in table:
            raise DataError(
                f"no column 'image'{nearest('image', table.columns)}",
                where=self.source,
                do="import the data, or name the column of image paths 'image'",
            )
        if "fov" in table and "roi" not in table:
            table = table.rename(columns={"fov": "roi"})
        for column in (*TEXT_COLUMNS, *_structure_columns(table)):
            if column in table and column != "label":
                table[column] = _stripped(table[column])
        empty = table["image"].isna().to_numpy()
        if empty.any():
            raise DataError("no image", where=self._where(int(empty.argmax())), do="fill in the column 'image'")
        if "split" in table:
            table["split"] = self._normal(table["split"], {s: s for s in SPLITS}, "split")
        if "laterality" in table:
            table["laterality"] = self._normal(table["laterality"], _LATERALITIES, "laterality")
        if "frame" in table:
            table["frame"] = self._frames(table["frame"])
        return table

    def _normal(self, column: pd.Series, words: dict[str, str], name: str) -> pd.Series:
        lower = column.str.lower()
        out = lower.map(words)
        stray = (out.isna() & column.notna()).to_numpy()
        if stray.any():
            row = int(stray.argmax())
            raise DataError(
                f"unknown {name} '{column.iloc[row]}'{nearest(str(lower.iloc[row]), words)}",
                where=self._where(row),
                do=f"use one of {', '.join(dict.fromkeys(words.values()))}, or leave it empty",
            )
        return out

    def _frames(self, column: pd.Series) -> pd.Series:
        numbers = pd.to_numeric(column, errors="coerce")
        stray = column.notna() & ~((numbers >= 0) & (numbers % 1 == 0)).fillna(False)
        if stray.any():
            row = int(stray.to_numpy(dtype=bool).argmax())
            raise DataError(
                f"frame '{column.iloc[row]}' is not a whole number from 0",
                where=self._where(row),
                do="correct the frame",
            )
        return numbers.astype("Int64")

    def _anchored(self, folder: Path) -> pd.DataFrame:
        if folder.resolve() == self.folder.resolve():
            return self.table
        table = self.table.copy()
        for column in (*PATH_COLUMNS, *_structure_columns(table)):
            if column in table:
                known = {v: relative_to(self.folder / v, folder) for v in table[column].dropna().unique()}
                table[column] = table[column].map(known)
        return table


def split_part(value: str) -> tuple[str, str | None]:
    """The file and the part named behind ``#``: an array, a plane, or a box of pixels.

    >>> split_part("a/retina.npz#train_images"), split_part("cell #3.png")
    (('a/retina.npz', 'train_images'), ('cell #3.png', None))
    >>> split_part("smear.jpg#xywh=275,186,72,72")
    ('smear.jpg', 'xywh=275,186,72,72')
    """
    file, mark, part = value.rpartition("#")
    named = bool(mark) and (file.lower().endswith(CONTAINERS) or parse_region(part) is not None)
    return (file, part or None) if named else (value, None)


def relative_to(path: Path, folder: Path) -> str:
    """``path`` as a manifest in ``folder`` names it: relative when it lies inside the folder, else absolute.

    >>> relative_to(Path("/data/a/b.png"), Path("/data")), relative_to(Path("/else/b.png"), Path("/data"))
    ('a/b.png', '/else/b.png')
    """
    full, base = Path(os.path.abspath(path)), Path(os.path.abspath(folder))
    return full.relative_to(base).as_posix() if full.is_relative_to(base) else full.as_posix()


def parse_spacing(value: object) -> tuple[float, float] | None:
    r"""Millimetres between rows and between columns from a cell; None for an empty one.

    Raises:
        DataError: not one or two positive numbers.

    >>> parse_spacing("0.2\\0.3"), parse_spacing(0.5), parse_spacing("")
    ((0.2, 0.3), (0.5, 0.5), None)
    """
    if value is None or (isinstance(value, float) and np.isnan(value)) or not str(value).strip():
        return None
    try:
        numbers = [float(p) for p in str(value).split("\\")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(0 < n < np.inf for n in numbers):
        raise DataError(f"pixel spacing '{value}' is not in millimetres", do="write 0.2 or 0.2\\0.3")
    return numbers[0], numbers[-1]


def _structure_columns(table: pd.DataFrame) -> list[str]:
    return [column for column in map(str, table.columns) if column.startswith("mask:")]


def _stripped(column: pd.Series) -> pd.Series:
    """Text without blanks round it; whole floats, which pandas makes of integers with gaps, lose their ``.0``."""
    if column.dtype.kind == "f" and bool((column.dropna() % 1 == 0).all()):
        column = column.astype("Int64")
    texts = [None if pd.isna(value) else str(value).strip() or None for value in column]
    return pd.Series(texts, index=column.index, dtype="object")
