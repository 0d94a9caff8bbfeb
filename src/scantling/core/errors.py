"""Errors that a user can act on: what is wrong, where, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ScantlingError(Exception):
    """Root of every error that this package raises on purpose; the command line prints it as one line and exits with 2.

    Args:
        what: what is wrong, a short sentence without a full stop.
        where: file, row or key, where known.
        do: what the user can do about it.

    >>> print(DataError("no column 'grade'", where="retina.csv", do="name the label column with --label"))
    retina.csv: no column 'grade'; name the label column with --label
    """

    def __init__(self, what: str, *, where: object = None, do: str | None = None) -> None:
        self.what, self.where, self.do = what, where, do
        text = what if where is None else f"{where}: {what}"
        super().__init__(text if do is None else f"{text}; {do}")


class DataError(ScantlingError):
    """A manifest, image, label or store that cannot be used."""


class RecipeError(ScantlingError):
    """A recipe, option or override that cannot be used."""


class BundleError(ScantlingError):
    """A bundle that is incomplete, foreign or unsafe."""


class TrainingError(ScantlingError):
    """Training that cannot go on: a loss that is not finite, a full disk, an unusable device."""


class MissingExtraError(ScantlingError):
    """A feature whose optional packages are not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs the package '{package}'", do=f"pip install 'scantling[{extra}]'")


def nearest(word: str, choices: Iterable[object]) -> str:
    """`` (did you mean 'x'?)`` for the closest choice, or an empty string.

    >>> nearest("batchsize", ["batch_size", "image_size"])
    " (did you mean 'batch_size'?)"
    >>> nearest("zzz", ["batch_size"])
    ''
    """
    close = difflib.get_close_matches(word, [str(c) for c in choices], n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""
