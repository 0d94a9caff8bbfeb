"""Divide a manifest into train, val and test, or into folds: no group in two parts, each part like the whole."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd

from scantling.core.errors import DataError, nearest
from scantling.core.target import label_text
from scantling.data.apportion import apportion
from scantling.data.manifest import SPLITS, Manifest

Notify = Callable[[str], None]
"""Called with something that the user should know."""


def split(
    manifest: Manifest,
    by: str | None = "patient",
    stratify: str | None = "label",
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    keep_test: bool = False,
    notify: Notify | None = None,
) -> Manifest:
    """A manifest whose column ``split`` is filled anew.

    Args:
        manifest: what to divide.
        by: column of the groups that must not be divided; None for single images. A group of its own is every row
            with an empty cell, and, when ``patient`` is asked for and there is no such column, every row.
        stratify: ``label`` for the target's classes (or each finding), another column, or None.
        fractions: shares of train, val and test; they add up to 1.
        seed: decides between groups that are alike.
        keep_test: leave the rows of the test split where they are, and divide the rest by the first two fractions.
        notify: told when groups or classes could not be kept; by default a warning.

    Returns:
        A new manifest; same input and seed, same answer.

    Raises:
        DataError: an unknown column, fractions that do not add up to 1, ``keep_test`` without test rows, or a group
            that is partly in the test split.
    """
    tell = notify or _warn
    if len(fractions) != len(SPLITS) or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise DataError(f"fractions {fractions} do not add up to 1", do="give three shares: 0.7, 0.1, 0.2")
    groups, strata = _groups(manifest, by, tell), _strata(manifest, stratify)
    shares, rows = np.asarray(fractions, dtype=float), np.arange(len(manifest))
    parts = np.full(len(manifest), SPLITS.index("test"))
    if keep_test:
        kept = manifest.split("test")
        _refuse_torn_test(groups, kept, by)
        rows, shares = np.setdiff1d(rows, kept), np.array([fractions[0], fractions[1], 0.0])
        if not shares.any():
            raise DataError("nothing is left for train and val", do="give them shares: 0.8, 0.2, 0")
    parts[rows] = _assign(groups[rows], strata[rows], shares / shares.sum(), np.random.default_rng(seed))
    for name, share in zip(SPLITS, shares, strict=True):
        if share > 0 and not (parts == SPLITS.index(name)).any():
            tell(f"there are too few groups for a share of {share:g}: {name} is empty")
    return manifest.with_table(manifest.table.assign(split=np.array(SPLITS)[parts]))


def folds(
    manifest: Manifest,
    k: int = 5,
    by: str | None = "patient",
    stratify: str | None = "label",
    seed: int = 0,
    notify: Notify | None = None,
) -> Manifest:
    """A manifest with a column ``fold``, 0 to k-1, for cross-validation: no group in two folds.

    Args:
        manifest: what to divide.
        k: folds, from 2.
        by: as in :func:`split`.
        stratify: as in :func:`split`.
        seed: as in :func:`split`.
        notify: as in :func:`split`.

    Raises:
        DataError: an unknown column, or fewer groups than folds.
    """
    groups = _groups(manifest, by, notify or _warn)
    if not 2 <= k <= len(np.unique(groups)):
        raise DataError(f"{k} folds of {len(np.unique(groups))} groups", do="give a k from 2 to the number of groups")
    parts = _assign(groups, _strata(manifest, stratify), np.full(k, 1 / k), np.random.default_rng(seed))
    return manifest.with_table(manifest.table.assign(fold=parts))


def _assign(groups: np.ndarray, strata: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Part of every row, from its group ``(N,)`` and its content ``(N, K)``."""
    if not len(groups):
        return np.empty(0, dtype=np.int64)
    _, codes = np.unique(groups, return_inverse=True)
    content = np.stack([np.bincount(codes, weights=column) for column in strata.T], axis=1)
    return apportion(np.bincount(codes), content, shares, rng)[codes]


def _groups(manifest: Manifest, by: str | None, tell: Notify) -> np.ndarray:
    """Group number of every row; rows with an empty cell have one of their own."""
    count = len(manifest)
    if by is None:
        return np.arange(count)
    if by not in manifest.table:
        if by == "patient":
            tell("no column patient: every image is its own group")
            return np.arange(count)
        raise DataError(f"no column '{by}'{nearest(by, manifest.table.columns)}", do="name a column to keep together")
    codes = pd.factorize(manifest.table[by].map(label_text), use_na_sentinel=True)[0].astype(np.int64)
    empty = codes < 0
    codes[empty] = count + np.flatnonzero(empty)
    return codes


def _strata(manifest: Manifest, stratify: str | None) -> np.ndarray:
    """Content ``(N, K)`` of every row: one-hot classes, or findings with a column for their absence."""
    count = len(manifest)
    if stratify is None:
        return np.ones((count, 1))
    if stratify != "label":
        if stratify not in manifest.table:
            raise DataError(
                f"no column '{stratify}'{nearest(stratify, manifest.table.columns)}", do="name a column to balance"
            )
        return _one_hot(manifest.table[stratify].map(label_text))
    target = manifest.target
    if target.kind == "findings":
        positive = np.nan_to_num(target.encode(manifest.table)) > 0
        return np.column_stack([positive, ~positive.any(axis=1)]).astype(float)
    return _one_hot(manifest.table["label"].map(label_text)) if "label" in manifest.table else np.ones((count, 1))


def _one_hot(column: pd.Series) -> np.ndarray:
    codes, names = pd.factorize(column, sort=True, use_na_sentinel=True)
    return np.eye(len(names) + 1)[codes]


def _refuse_torn_test(groups: np.ndarray, kept: np.ndarray, by: str | None) -> None:
    if not len(kept):
        raise DataError("no row is in the test split", do="split without keep_test")
    torn = np.intersect1d(groups[kept], np.delete(groups, kept))
    if len(torn):
        raise DataError(
            f"{len(torn)} groups of column '{by}' are in the test split and outside it", do="split without keep_test"
        )


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)
