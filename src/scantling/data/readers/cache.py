"""A small cache of opened files, one a process, safe between threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

Value = TypeVar("Value")


class OpenFiles(Generic[Value]):
    """Keeps what was read from the last few files, so that reading N rows of one file does not decode it N times.

    A file that changed on disk is read again. Threads that want the same file wait for one read.

    Args:
        size: files (or parts of files) kept.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path, part: str | None, load: Callable[[], Value]) -> Value:
        """What ``load()`` gave for this file and part, from the cache where it is there."""
        state = path.stat()
        key = (path.absolute(), part, state.st_mtime_ns, state.st_size)
        with self._lock:
            if key not in self._kept:
                while len(self._kept) >= self.size:
                    self._kept.popitem(last=False)
                self._kept[key] = load()
            self._kept.move_to_end(key)
            return self._kept[key]
