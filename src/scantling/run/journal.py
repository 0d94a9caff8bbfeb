"""Finished rows of a long job, kept line by line, so that the job goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scantling.core.files import os_error


class Journal:
    """Rows by number, appended to a file as they are finished.

    Args:
        path: the file; None to keep the rows in memory only.
        key: what the rows depend on. A file with another key, or with a broken head, is begun anew; of a file with a
            broken line, which a killed job leaves, the rows before it count.

    Attributes:
        rows: all finished rows by their number.
    """

    def __init__(self, path: Path | None, key: str) -> None:
        self.path = path
        self.rows: dict[int, dict[str, Any]] = {}
        if path is None:
            return
        head = json.dumps({"key": key}) + "\n"
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        whole = 0
        if lines and lines[0] == head.encode():
            whole = len(lines[0])
            for line in lines[1:]:
                try:
                    number, row = json.loads(line)
                except (ValueError, TypeError):
                    break
                self.rows[number] = row
                whole += len(line)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("r+b" if path.is_file() else "wb") as stream:
                stream.truncate(whole)
                stream.seek(whole)
                stream.write(b"" if whole else head.encode())
        except OSError as error:
            raise os_error(error, path) from error

    def add(self, rows: Mapping[int, dict[str, Any]]) -> None:
        """Keep finished rows; their values are text, numbers or None.

        Raises:
            ScantlingError: the file cannot be written.
        """
        self.rows.update(rows)
        if self.path is None:
            return
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.writelines(json.dumps([number, row]) + "\n" for number, row in rows.items())
        except OSError as error:
            raise os_error(error, self.path) from error

    def remove(self) -> None:
        """Delete the file: the job is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
