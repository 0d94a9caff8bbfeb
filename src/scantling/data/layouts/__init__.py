"""Layouts: known ways in which data sets lie on disk, each turned into a manifest by one small module.

A module here is a layout when it has ``load(source: Path, ...) -> DataFrame``: one row an image, columns as in
:mod:`scantling.data.manifest`, paths that can be opened from the working folder, and a column ``target`` that may name
only a kind (``grade``). One that draws masks takes ``manifest``, the file that is being written. Its name is the
layout's name; its first docstring line is what ``describe`` shows.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from scantling.core.errors import DataError, nearest
from scantling.core.target import Target, parse_target
from scantling.data.manifest import COLUMNS, PATH_COLUMNS, Manifest, relative_to, split_part

GIVEN = ("source", "manifest")
"""Arguments of ``load`` that are no options."""


def names() -> list[str]:
    """Names of all layouts, sorted.

    >>> "folder" in names() and "csv" in names()
    True
    """
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def describe(name: str | None = None) -> str:
    """One line for each layout, or everything about one: its options with their defaults and meaning.

    Raises:
        DataError: an unknown layout.
    """
    if name is None:
        width = max(len(n) for n in names())
        return "\n".join(f"{n:<{width}}  {(_layout(n).__doc__ or '').splitlines()[0]}" for n in names())
    layout = _layout(name)
    return f"{inspect.getdoc(layout)}\n\n{inspect.getdoc(layout.load)}"


def import_layout(name: str, source: str | os.PathLike[str], out: str | os.PathLike[str], **options: Any) -> Manifest:
    """Write the manifest of a data set.

    Args:
        name: one of :func:`names`.
        source: the folder or table that the layout reads.
        out: the manifest to write, ``.csv`` or ``.parquet``; paths inside its folder are written relative to it.
        **options: the layout's own (see :func:`describe`).

    Returns:
        The manifest as written. Images that the table names but the disk lacks are kept, for ``check`` to report.

    Raises:
        DataError: an unknown layout or option, a source that does not have the layout's form, or no image at all where
            they should lie.
    """
    layout, folder = _layout(name), Path(source)
    parameters = inspect.signature(layout.load).parameters
    known = [p for p in parameters if p not in GIVEN]
    for option in options:
        if option not in known:
            raise DataError(
                f"layout '{name}' has no option '{option}'{nearest(option, known)}", do=f"options: {', '.join(known)}"
            )
    if not folder.exists():
        raise DataError("no such file or folder", where=folder, do="check the path of the data set")
    if "manifest" in parameters:
        options["manifest"] = Path(out)
    table = layout.load(folder, **options)
    if not len(table):
        raise DataError(
            "no images found", where=folder, do=f"layout '{name}': {(layout.__doc__ or '').splitlines()[0]}"
        )
    _refuse_when_all_missing(table)
    if "target" in table:
        table["target"] = _spec(parse_target(str(table["target"].iloc[0]), table))
    return Manifest(_placed(table, Path(out).parent), Path(out).parent).write(out)


def _layout(name: str) -> ModuleType:
    if name not in names():
        raise DataError(f"unknown layout '{name}'{nearest(name, names())}", do=f"use one of {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{name}")


def _spec(target: Target) -> str:
    """The target's spec, short where the names are only numbers: ``grade:5``."""
    numbered = target.size > 0 and target.names == tuple(map(str, range(target.size)))
    return f"{target.kind}:{target.size}" if numbered else target.spec


def _refuse_when_all_missing(table: pd.DataFrame) -> None:
    files = [Path(split_part(str(image))[0]) for image in table["image"].unique()]
    if any(file.is_file() for file in files):
        return
    searched = sorted({str(file.parent) for file in files})
    raise DataError(
        f"none of the {len(files)} images is there (the first is {files[0].name})",
        where=", ".join(searched[:3]) + (", ..." if len(searched) > 3 else ""),
        do="give the image folder with image_folder=, or the end of the names with suffix=.png",
    )


def _placed(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The table with reserved columns first and paths as a manifest in ``folder`` names them."""
    for column in PATH_COLUMNS:
        if column in table:
            known = {v: relative_to(Path(v), folder) for v in table[column].dropna().unique()}
            table[column] = table[column].map(known)
    first = [c for c in COLUMNS if c in table]
    labels = [c for c in table if str(c).startswith("label:")]
    return table[[*first, *labels, *(c for c in table if c not in {*first, *labels})]]
