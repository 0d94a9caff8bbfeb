"""What data sets call things, in our words."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from scantling.core.errors import DataError, nearest

SPLIT_WORDS = {
    "train": "train", "training": "train", "trn": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val", "public": "val",
    "test": "test", "testing": "test", "tst": "test", "private": "test",
}  # fmt: skip


def splits_from(column: pd.Series, where: object) -> pd.Series:
    """Splits as ``train``, ``val`` and ``test``.

    Raises:
        DataError: a word that means none of them.
    """
    words = column.map(lambda v: None if pd.isna(v) else str(v).strip().lower()).astype("object")
    unknown = sorted({w for w in words.dropna() if w and w not in SPLIT_WORDS})
    if unknown:
        raise DataError(
            f"unknown split '{unknown[0]}'{nearest(unknown[0], SPLIT_WORDS)}", where=where, do="use train, val or test"
        )
    return words.map(SPLIT_WORDS)


def listed(value: str | Sequence[str] | None) -> list[str]:
    """Several names, given as a list or as one text with commas.

    >>> listed("a, b"), listed(["a"]), listed(None)
    (['a', 'b'], ['a'], [])
    """
    if value is None:
        return []
    parts = value.split(",") if isinstance(value, str) else value
    return [p.strip() for p in parts if p.strip()]


def require_column(table: pd.DataFrame, name: str, where: object) -> None:
    """Refuse a table without a column.

    Raises:
        DataError: the column is missing; names the nearest one and all there are.
    """
    if name not in table:
        columns = ", ".join(map(str, table.columns))
        raise DataError(f"no column '{name}'{nearest(name, table.columns)}", where=where, do=f"columns: {columns}")
