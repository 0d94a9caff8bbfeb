"""Records: a folder of raw arrays, one file a field, that many processes fill together and that survives a kill.

The folder holds ``<field>.bin`` (rows one after the other, C order), ``done.bin`` (one byte a row), ``claims`` (locked
bytes, one a chunk of rows) and ``meta.json``. Its space is reserved before the first row is written, so a full disk
shows at once and never inside a memory map. A row's byte in ``done.bin`` is set after its bytes have reached the disk.
Rows are filled by whoever holds the lock of their chunk; a lock ends with its process, whatever ends the process.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage, rmtree
from typing import Any

import numpy as np

from scantling.core.errors import DataError, ScantlingError
from scantling.core.files import os_error, write_json, writing_folder

FORMAT = 1
"""Version of the layout; stores of another version are built anew."""

ITEM_SIZES = {
    "uint8": 1, "int8": 1, "bool": 1, "int16": 2, "float16": 2, "bfloat16": 2, "int32": 4, "float32": 4, "int64": 8,
    "float64": 8,
}  # fmt: skip
"""Bytes of one element of each dtype that can be kept."""

_CHUNK_BYTES = 8 << 20
_CHUNK_ROWS = 64
_WAIT = 0.02
_filling = threading.RLock()

Progress = Callable[[int, int], None]
"""Called with the number of rows done and the number of all rows."""


@dataclass(frozen=True)
class Field:
    """One array: its name, its dtype as torch names it, and the shape of one row."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * ITEM_SIZES[self.dtype]


class Records:
    """A folder of records that exists and is whole in size; see :func:`open_records`.

    Args:
        folder: the folder.
        meta: content of its ``meta.json``.
    """

    def __init__(self, folder: Path, meta: Mapping[str, Any]) -> None:
        self.folder = folder
        self.count = int(meta["count"])
        self.chunk = int(meta["chunk"])
        self.fields = {f["name"]: Field(f["name"], f["dtype"], tuple(f["shape"])) for f in meta["fields"]}
        self.info: dict[str, Any] = meta["info"]
        self.bytes = sum(meta["files"].values())

    def path(self, name: str) -> Path:
        """The file of a field."""
        return self.folder / f"{name}.bin"

    def done(self) -> np.ndarray:
        """Which rows are whole, ``(N,)`` bool."""
        return np.fromfile(self.path("done"), dtype=np.uint8) == 1

    @property
    def complete(self) -> bool:
        """Whether every row is whole."""
        return bool(self.done().all())

    @contextmanager
    def filling(self) -> Iterator[Filler]:
        """Open the files for writing.

        Raises:
            ScantlingError: the folder cannot be written.
        """
        with _filling:
            files: dict[str, int] = {}
            try:
                for name in (*self.fields, "done"):
                    files[name] = os.open(self.path(name), os.O_RDWR)
                files["claims"] = os.open(self.folder / "claims", os.O_RDWR)
                yield Filler(self, files)
            except OSError as error:
                raise os_error(error, self.folder) from error
            finally:
                for handle in files.values():
                    os.close(handle)


class Filler:
    """Writes rows; made by :meth:`Records.filling`. Only one in a process works at a time."""

    def __init__(self, records: Records, files: Mapping[str, int]) -> None:
        self.records, self._files = records, files

    def write(self, name: str, row: int, value: np.ndarray) -> None:
        """Put one row of a field, as contiguous bytes of the field's dtype; safe from several threads.

        Raises:
            OSError: the disk is full or fails.
            DataError: a value of another size.
        """
        size = self.records.fields[name].row_bytes
        left = memoryview(np.ascontiguousarray(value).tobytes())
        if len(left) != size:
            raise DataError(f"a row of '{name}' has {len(left)} bytes and not {size}", where=self.records.folder)
        offset = row * size
        while left:
            written = os.pwrite(self._files[name], left, offset)
            left, offset = left[written:], offset + written

    def fill(
        self,
        produce: Callable[[np.ndarray], np.ndarray],
        progress: Progress | None = None,
        keep_going: Callable[[], bool] = lambda: True,
        chunks: int | None = None,
    ) -> None:
        """Fill what is missing, together with any other process that does the same.

        Returns when every row is whole or has been tried here in vain; waits for rows that others are filling.

        Args:
            produce: writes the given rows, ``(n,)`` ascending and of one chunk, and returns those it could write.
            progress: called after every chunk.
            keep_going: asked before every chunk; False ends the work.
            chunks: stop after this many chunks.
        """
        records = self.records
        tried = np.zeros(records.count, dtype=bool)
        while (todo := ~records.done() & ~tried).any():
            idle = True
            for chunk in np.unique(np.flatnonzero(todo) // records.chunk):
                if not keep_going() or chunks == 0:
                    return
                with self._claim(int(chunk)) as mine:
                    if not mine:
                        continue
                    idle = False
                    span = slice(chunk * records.chunk, min((chunk + 1) * records.chunk, records.count))
                    rows = span.start + np.flatnonzero(~records.done()[span] & ~tried[span])
                    if rows.size:
                        written = produce(rows)
                        self._mark(span, written)
                        tried[rows] = True
                        chunks = None if chunks is None else chunks - 1
                if progress is not None:
                    progress(int(records.done().sum()), records.count)
            if idle:
                time.sleep(_WAIT)
                if progress is not None:
                    progress(int(records.done().sum()), records.count)

    @contextmanager
    def _claim(self, chunk: int) -> Iterator[bool]:
        """Whether the chunk is ours; the lock ends with the block, or with the process."""
        mine = _lock(self._files["claims"], chunk)
        try:
            yield mine
        finally:
            if mine:
                with suppress(OSError):
                    fcntl.lockf(self._files["claims"], fcntl.LOCK_UN, 1, chunk)

    def _mark(self, span: slice, rows: np.ndarray) -> None:
        for name in self.records.fields:
            getattr(os, "fdatasync", os.fsync)(self._files[name])
        marks = np.frombuffer(os.pread(self._files["done"], span.stop - span.start, span.start), dtype=np.uint8).copy()
        marks[rows - span.start] = 1
        os.pwrite(self._files["done"], marks.tobytes(), span.start)


def load_records(folder: Path) -> Records | None:
    """The records of a folder, or None where there are none, of another version, or with a file missing or cut."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        if meta["format"] != FORMAT:
            return None
        if any((folder / name).stat().st_size != size for name, size in meta["files"].items()):
            return None
        return Records(folder, meta)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def open_records(
    folder: Path,
    fields: Callable[[], Sequence[Field]],
    count: int,
    info: Mapping[str, Any],
    extra: Mapping[str, bytes] | None = None,
) -> Records:
    """The records of a folder; made, empty, where there are none or they are damaged.

    Args:
        folder: where they lie; the folder above it holds a lock file.
        fields: gives the fields, asked only when the records are made.
        count: rows.
        info: plain content kept in ``meta.json``.
        extra: more files to keep beside the fields, by name.

    Raises:
        ScantlingError: the disk is full or cannot be written; what was there is untouched.
    """
    found = load_records(folder)
    if found is not None:
        return found
    with locked(folder.parent):
        found = load_records(folder)
        if found is None:
            _create(folder, fields(), count, info, extra or {})
            found = load_records(folder)
    if found is None:
        raise DataError("the store vanished while it was made", where=folder, do="run again")
    return found


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder against other processes and threads; it ends with the process.

    Raises:
        ScantlingError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise os_error(error, folder) from error
    with _filling:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def is_filling(folder: Path) -> bool:
    """Whether another process is filling the records of a folder now."""
    try:
        handle = os.open(folder / "claims", os.O_RDWR)
    except OSError:
        return False
    with _filling:
        try:
            return not _lock(handle, 0, 0)
        finally:
            os.close(handle)


def _create(
    folder: Path, fields: Sequence[Field], count: int, info: Mapping[str, Any], extra: Mapping[str, bytes]
) -> None:
    for left_behind in folder.parent.glob(f".{folder.name}.*.part"):
        rmtree(left_behind, ignore_errors=True)
    row_bytes = sum(f.row_bytes for f in fields)
    files = {f"{f.name}.bin": count * f.row_bytes for f in fields} | {"done.bin": count, "claims": 0}
    needed = sum(files.values())
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = disk_usage(folder.parent).free
    if needed > free:
        raise ScantlingError(
            f"the disk is full: {needed / 1e9:.2f} GB are needed and {free / 1e9:.2f} GB are free",
            where=folder.parent,
            do="free some space, set SCANTLING_CACHE to a folder on another disk, or read without a store",
        )
    with writing_folder(folder) as part:
        for name, size in files.items():
            _allocate(part / name, size)
        for name, content in extra.items():
            (part / name).write_bytes(content)
        meta = {
            "format": FORMAT,
            "count": count,
            "chunk": max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // max(row_bytes, 1))),
            "fields": [{"name": f.name, "dtype": f.dtype, "shape": list(f.shape)} for f in fields],
            "files": files | {name: len(content) for name, content in extra.items()},
            "info": dict(info),
        }
        write_json(part / "meta.json", meta)


def _allocate(path: Path, size: int) -> None:
    """A file of zeros whose space is reserved, where the file system can."""
    with path.open("wb") as stream:
        if size and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(stream.fileno(), 0, size)
                return
            except OSError as error:
                if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
                    raise
        stream.truncate(size)


def _lock(handle: int, byte: int, length: int = 1) -> bool:
    """Lock bytes of a file at once, or say that another process holds one of them.

    Where the file system knows no locks the answer is yes: rows may then be made twice, with the same bytes.
    """
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, length, byte)
    except OSError as error:
        return error.errno not in {errno.EAGAIN, errno.EACCES}
    return True
