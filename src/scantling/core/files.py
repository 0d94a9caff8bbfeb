"""Files that are whole or absent: written under a temporary name, flushed, renamed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scantling.core.errors import ScantlingError

_READING_UMASK = threading.Lock()


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it replaces ``path``, on any error ``path`` is untouched.

    Raises:
        ScantlingError: the disk is full or the folder cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise os_error(error, target) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise os_error(error, target) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Like :func:`writing` for a folder: the new folder replaces an old one only when it is complete."""
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    except OSError as error:
        raise os_error(error, target) from error
    try:
        yield temporary
        temporary.chmod(0o755)
        old = target.with_name(f".{target.name}.old")
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
            target.replace(old)
        temporary.replace(target)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise os_error(error, target) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text atomically."""
    with writing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write JSON atomically, indented, with non-finite numbers as null."""
    write_text(path, json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def os_error(error: OSError, path: object) -> ScantlingError:
    """A one-line error for a failed file operation."""
    if error.errno == errno.ENOSPC:
        return ScantlingError("the disk is full", where=path, do="free some space and run again with --resume")
    return ScantlingError(error.strerror or str(error), where=path, do="check the path and its permissions")


def cache_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """The folder given, else ``$SCANTLING_CACHE``, else ``~/.cache/scantling``."""
    return Path(folder or os.environ.get("SCANTLING_CACHE") or Path.home() / ".cache" / "scantling").absolute()


def _umask() -> int:
    """The mask of permissions of new files: only setting it tells it, which two threads must not do at once."""
    with _READING_UMASK:
        mask = os.umask(0)
        os.umask(mask)
    return mask


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value
