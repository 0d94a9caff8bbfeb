"""What a verb tells while it works: progress of anything that counts, and single lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scantling.core.clock import clock

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

Told = Callable[[int, int], None]
"""Called with what is done and what there is in all."""

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def counting(text: str) -> Iterator[Told]:
    """A callback that shows progress on the error stream while the block runs.

    On a terminal it is a bar with the time left, which vanishes at the end; elsewhere at most a line every ten seconds,
    so that a log stays short and what is quick says nothing.

    Args:
        text: what is being done: ``reading images``.
    """
    if not sys.stderr.isatty():
        yield _Lines(text)
        return
    with open_bar() as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    """Prints ``text 120/500, 0:40 left`` when the last line is long enough ago."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._began = self._said = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first, self._began = done, now
        if now - self._said < SECONDS_BETWEEN_LINES:
            return
        self._said = now
        speed = (done - self._first) / max(now - self._began, 1e-9)
        left = f", {clock((total - done) / speed)} left" if speed > 0 else ""
        print(f"{self.text} {done}/{total}{left}", file=sys.stderr, flush=True)


def open_bar() -> Bar:
    """A bar on the error stream with what is done and the time left, which vanishes at the end; not yet started."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def say(aloud: bool, text: str) -> None:
    """Print a line where printing is wanted."""
    if aloud:
        print(text, flush=True)
