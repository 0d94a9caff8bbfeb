"""A folder for each class, or root/{train,val,test}/<class>; images without class folders are unlabelled."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from scantling.data.readers import is_image
from scantling.data.wording import SPLIT_WORDS


def load(source: Path, target: str = "class", site: str | None = None) -> pd.DataFrame:
    """Rows of ``source/<class>/**/<image>`` or ``source/<split>/<class>/**/<image>``, sorted by path.

    A single folder is no class: its images are unlabelled too.

    Args:
        source: the root folder.
        target: ``class``, ``grade`` (folders named 0, 1, ...), or a full spec such as ``grade:5``.
        site: written into every row.
    """
    parts = _folders(source)
    if parts and all(p.name.lower() in SPLIT_WORDS for p in parts):
        rows = [row for p in parts for row in _rows(p, SPLIT_WORDS[p.name.lower()])]
    else:
        rows = _rows(source, None)
    table = pd.DataFrame(rows, columns=["image", "label", "split"])
    if table["label"].nunique() == 1:
        table["label"] = None
    table = table.dropna(axis="columns", how="all")
    table["target"] = target if "label" in table else "none"
    return table if site is None else table.assign(site=site)


def _rows(root: Path, split: str | None) -> list[tuple[str, str | None, str | None]]:
    loose = [(str(f), None, split) for f in sorted(root.iterdir()) if f.is_file() and _wanted(f)]
    inside = [
        (str(f), c.name, split) for c in _folders(root) for f in sorted(c.rglob("*")) if f.is_file() and _wanted(f)
    ]
    return [*loose, *inside]


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def _wanted(file: Path) -> bool:
    return is_image(file) and file.suffix.lower() != ".npz" and not file.name.startswith(".")
