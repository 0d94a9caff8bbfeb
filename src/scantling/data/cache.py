"""The cache folder: which stores lie there, how large they are, and how to be rid of one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from scantling.core.errors import DataError
from scantling.core.files import cache_folder, os_error
from scantling.data.records import is_filling, load_records, locked

_KEY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Summary:
    """Facts about a store.

    Args:
        key: its name in the cache.
        rows: images.
        bytes: space on disk, or in memory, with derived fields.
        seconds: what opening it took, building included; 0 for a store that was only listed.
        complete: whether every row is there.
    """

    key: str
    rows: int
    bytes: int
    seconds: float
    complete: bool


def store_folders(place: Path) -> list[Path]:
    """The folders of all stores, complete or not, by key."""
    return sorted(p for p in place.glob("*") if _KEY.fullmatch(p.name))


def stores(folder: str | os.PathLike[str] | None = None) -> list[Summary]:
    """The stores in a cache folder, by key; a damaged one counts no rows.

    Args:
        folder: the cache, see :func:`cache_folder`.
    """
    found = [(p, load_records(p)) for p in store_folders(cache_folder(folder) / "stores")]
    return [Summary(p.name, r.count if r else 0, folder_bytes(p), 0.0, bool(r and r.complete)) for p, r in found]


def remove(key: str, folder: str | os.PathLike[str] | None = None) -> None:
    """Delete a store and what was derived from it. Processes that have it open keep their data until they end.

    Args:
        key: its name.
        folder: the cache, see :func:`cache_folder`.

    Raises:
        DataError: no such store, or one that is being built.
        ScantlingError: it cannot be deleted.
    """
    place = cache_folder(folder) / "stores"
    if not _KEY.fullmatch(key) or not (place / key).is_dir():
        raise DataError(f"no store '{key}'", where=place, do="list the stores first")
    with locked(place):
        if any(is_filling(p) for p in (place / key, *(place / key / "derived").glob("*"))):
            raise DataError("the store is being built", where=place / key, do="wait, or end the run that builds it")
        try:
            rmtree(place / key)
        except OSError as error:
            raise os_error(error, place / key) from error


def folder_bytes(folder: Path) -> int:
    """Bytes of all arrays under a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*.bin"))
