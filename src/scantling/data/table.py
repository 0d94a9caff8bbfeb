"""Tables from disk: CSV (comma, semicolon or tab) and Parquet, with errors that a user can act on."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from scantling.core.errors import DataError

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")


def read_table(path: Path, text: Collection[str] | None = None) -> pd.DataFrame:
    """A table, with column names stripped of blanks.

    Args:
        path: a file ending in one of ``TABLE_SUFFIXES``; the separator of a text file is the one its first line holds.
        text: columns kept as text, so that a patient ``00007`` stays one; None for all columns.

    Returns:
        The rows as written; empty cells are missing values.

    Raises:
        DataError: no such file, an unknown suffix, no rows' header, text that is not UTF-8, or ragged rows.
    """
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise DataError("not a table", where=path, do=f"give a file ending in {', '.join(TABLE_SUFFIXES)}")
    if not path.is_file():
        raise DataError("no such file", where=path, do="check the path")
    try:
        table = pd.read_parquet(path) if path.suffix.lower() == ".parquet" else _read_text(path, text)
    except UnicodeDecodeError as error:
        raise DataError("the text is not UTF-8", where=path, do="save the table as UTF-8") from error
    except (OSError, ValueError) as error:
        raise DataError(f"not a readable table ({_first_line(error)})", where=path, do="open and correct it") from error
    table.columns = pd.Index([str(c).strip() for c in table.columns])
    return table


def _read_text(path: Path, text: Collection[str] | None) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        first = stream.readline()
    if not first.strip():
        raise DataError("the table is empty", where=path, do="give a table with a header line")
    separator = max(",;\t", key=first.count)
    names = next(csv.reader([first], delimiter=separator))
    repeated = [name for name, times in Counter(n.strip() for n in names).items() if name and times > 1]
    if repeated:
        raise DataError(f"column '{repeated[0]}' appears twice", where=path, do="rename one of them")
    kinds = {name: "str" for name in names if text is None or name.strip() in text}
    return pd.read_csv(
        path,
        sep=separator,
        encoding="utf-8-sig",
        dtype=kinds,
        index_col=False,
        low_memory=False,
    )


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
