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
    balanced_test: float | None = None,
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
        balanced_test: first draw a test split with equally many images of every class: this share of the rarest class,
            rounded down, in (0, 1). The rest is divided by the first two fractions.

    Returns:
        A new manifest; same input and seed, same answer.

    Raises:
        DataError: an unknown column, fractions that do not add up to 1, ``keep_test`` without test rows, a group that
            is partly in the test split, or a balanced test split of a target without classes.
    """
    tell = notify or _warn
    if balanced_test is not None:
        if keep_test:
            raise DataError("a test split cannot be both kept and drawn", do="leave out keep_test or balanced_test")
        chosen = draw_balanced_test(manifest, balanced_test, by, seed, tell)
        manifest = manifest.with_table(manifest.table.assign(split=np.where(chosen, "test", "train")))
        keep_test = True
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


def draw_balanced_test(
    manifest: Manifest, share: float, by: str | None, seed: int, notify: Notify | None = None
) -> np.ndarray:
    """Rows of a test split with equally many images of every class, no group of ``by`` divided.

    Every class gets ``floor(share * images of the rarest class)`` images: whole groups of that class alone, in random
    order, as long as they fit.

    Args:
        manifest: with one class or grade an image.
        share: of the rarest class, in (0, 1).
        by: as in :func:`split`.
        seed: of the order.
        notify: told when the groups of a class do not add up to the number.

    Returns:
        ``(N,)`` bool.

    Raises:
        DataError: another target, a share outside (0, 1), or one that leaves the rarest class without a test image.
    """
    tell = notify or _warn
    if manifest.target.kind not in {"class", "grade"}:
        raise DataError("a balanced test split needs one class or grade an image", do="leave out balanced_test")
    if not 0 < share < 1:
        raise DataError(f"a share of {share:g} of the rarest class", do="give a share between 0 and 1, such as 0.4")
    labels = manifest.target.encode(manifest.table)
    counts = np.bincount(labels[labels >= 0], minlength=manifest.target.size)
    wanted = int(np.floor(share * counts[counts > 0].min(initial=len(labels)) + 1e-9)) if counts.any() else 0
    if not wanted:
        raise DataError(f"a share of {share:g} of the rarest class is no image", do="give a larger share")
    codes = np.unique(_groups(manifest, by, tell), return_inverse=True)[1]
    content = np.zeros((codes.max() + 1, manifest.target.size + 1), dtype=np.int64)
    np.add.at(content, (codes, labels), 1)
    taken = np.zeros(len(content), dtype=bool)
    rng = np.random.default_rng(seed)
    for k in np.flatnonzero(counts):
        alone = np.flatnonzero((content[:, k] > 0) & (content.sum(axis=1) == content[:, k]))
        lacking = wanted
        for group in rng.permutation(alone):
            if content[group, k] <= lacking:
                taken[group] = True
                lacking -= content[group, k]
        if lacking:
            tell(f"the groups of '{manifest.target.names[k]}' leave its test images at {wanted - lacking} of {wanted}")
    return taken[codes]


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


def leave_out(
    manifest: Manifest,
    column: str,
    value: str,
    by: str | None = "patient",
    fractions: tuple[float, float] = (0.8, 0.2),
    seed: int = 0,
    notify: Notify | None = None,
) -> Manifest:
    """A manifest whose test split is all of one domain; the others are divided into train and val.

    Every other domain is in both parts, as far as its groups allow, so that a model is chosen on domains that it knows
    and measured on one that it has never seen.

    Args:
        manifest: what to divide.
        column: of the domains, such as ``site``.
        value: the domain to leave out.
        by: as in :func:`split`.
        fractions: shares of train and val of the other domains; they add up to 1.
        seed: as in :func:`split`.
        notify: as in :func:`split`.

    Raises:
        DataError: an unknown column or value, nothing else than this value, or a group that is inside and outside.
    """
    tell = notify or _warn
    if column not in manifest.table:
        raise DataError(f"no column '{column}'{nearest(column, manifest.table.columns)}", do="name a column of domains")
    domains = manifest.table[column].map(label_text)
    left = (domains == value).to_numpy()
    if not left.any():
        known = sorted(domains.dropna().unique())
        raise DataError(
            f"no row with the {column} '{value}'{nearest(value, known)}", where=manifest.source,
            do=f"use one of {', '.join(known[:12])}",
        )  # fmt: skip
    if left.all():
        raise DataError(f"all rows have the {column} '{value}'", where=manifest.source, do="add other domains")
    inside = manifest.with_table(manifest.table.assign(split=np.where(left, "test", "train")))
    return split(inside, by, column, (*fractions, 0.0), seed, keep_test=True, notify=tell)


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
