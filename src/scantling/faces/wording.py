"""Text for a terminal: help of groups, plain tables, sizes."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scantling.faces.commands import Command


_ROOM = 24


def width() -> int | None:
    """Columns of the terminal, or of ``$COLUMNS``; None where text is not shown on a terminal and may be any width."""
    if not os.environ.get("COLUMNS", "").isdecimal() and not sys.stdout.isatty():
        return None
    return max(40, shutil.get_terminal_size().columns)


def verbs_help(program: str, command: Command) -> str:
    """Help of a group of verbs."""
    rows = [[f"  {name}", verb.summary] for name, verb in command.verbs.items()]
    summary = textwrap.fill(command.summary, width() or 100)
    lines = [f"usage: {program} VERB ...", "", summary, "", *table(rows).splitlines(), ""]
    lines.append(f"`{program} VERB --help` shows the options of a verb.")
    return "\n".join([*lines, "`scantling --version` shows the version."] if program == "scantling" else lines)


def table(rows: Sequence[Sequence[str]], gap: str = "  ") -> str:
    """Columns side by side; the last one is wrapped where the terminal ends, or goes below where there is no room.

    >>> print(table([["name", "what"], ["a", "first"]]))
    name  what
    a     first
    """
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    indent, wide = sum(widths) + len(gap) * len(widths), width()
    below = wide is not None and wide - indent < _ROOM
    indent, room = (4, (wide or 0) - 4) if below else (indent, (wide or 0) - indent)
    lines = []
    for *cells, last in rows:
        first = "".join(f"{cell:<{w}}{gap}" for cell, w in zip(cells, widths, strict=True))
        parts = textwrap.wrap(last, room, break_on_hyphens=False) if wide and last else [last]
        if below and cells:
            lines.append(first.rstrip())
        else:
            lines.append(f"{first}{parts.pop(0)}".rstrip())
        lines += [f"{'':<{indent}}{part}" for part in parts]
    return "\n".join(lines)


def size(count: float) -> str:
    """Bytes for people.

    >>> size(999), size(1_500_000), size(12_000_000_000)
    ('999 B', '1.5 MB', '12 GB')
    """
    units = ("B", "kB", "MB", "GB", "TB")
    step = 0
    while count >= 1000 and step < len(units) - 1:
        count, step = count / 1000, step + 1
    return f"{count:.0f} {units[step]}" if count >= 10 or not step else f"{count:.1f} {units[step]}"
