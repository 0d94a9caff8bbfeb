"""``scantling data split``: train, val and test, or folds, without dividing a patient."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scantling.core.errors import ScantlingError
from scantling.faces.docs import arguments_of
from scantling.faces.parser import Parser, number, whole_number
from scantling.faces.wording import table

if TYPE_CHECKING:
    from scantling.data.manifest import Manifest

NONE = "none"


def configure(parser: Parser, words: Sequence[str]) -> None:
    """Options of :func:`scantling.data.split.split` and :func:`scantling.data.split.folds`."""
    docs = arguments_of("scantling.data.split", "split")
    parser.add("manifest", metavar="MANIFEST", doc=docs["manifest"])
    parser.add("--by", metavar="COLUMN", doc=docs["by"])
    parser.add("--stratify", metavar="COLUMN", doc=docs["stratify"])
    parser.add("--fractions", nargs=3, type=number, metavar=("TRAIN", "VAL", "TEST"), doc=docs["fractions"])
    parser.add("--seed", doc=docs["seed"])
    parser.add("--keep-test", doc=docs["keep_test"])
    parser.add("--balanced-test", type=number, metavar="SHARE", doc=docs["balanced_test"])
    parser.add("--folds", type=whole_number, metavar="K", doc="number K folds in a column `fold` instead, from 2")
    parser.add(
        "--leave-out", metavar="COLUMN=VALUE", doc="put all rows of one domain, such as site=chase, into the test split"
    )
    parser.add("-o", "--out", metavar="FILE", doc="write this file; left out, the manifest itself is replaced")
    parser.epilog = f"`--by {NONE}` and `--stratify {NONE}` ask for nothing of the kind."


def run(arguments: argparse.Namespace) -> None:
    """Write the manifest with its new column."""
    asked = {
        "--folds": arguments.folds is not None,
        "--leave-out": arguments.leave_out is not None,
        "--keep-test": arguments.keep_test,
        "--balanced-test": bool(arguments.balanced_test),
    }
    given = [name for name, there in asked.items() if there]
    if len(given) > 1 and (asked["--folds"] or asked["--leave-out"]):
        raise ScantlingError(f"{' and '.join(given)} exclude each other", do="leave one out")
    from scantling.data.manifest import Manifest
    from scantling.data.split import folds, leave_out, split

    manifest = Manifest.read(arguments.manifest)
    by, stratify = (None if word == NONE else word for word in (arguments.by, arguments.stratify))
    column = "split" if arguments.folds is None else "fold"
    old = _rows(manifest, column, by)
    if arguments.leave_out is not None:
        name, value = _domain(arguments.leave_out)
        train, val, _ = arguments.fractions
        shares = (train / max(train + val, 1e-9), val / max(train + val, 1e-9))
        new = leave_out(manifest, name, value, by, shares, arguments.seed, notify=_note)
    elif arguments.folds is None:
        new = split(
            manifest, by, stratify, tuple(arguments.fractions), arguments.seed, arguments.keep_test, notify=_note,
            balanced_test=arguments.balanced_test,
        )  # fmt: skip
    else:
        new = folds(manifest, arguments.folds, by, stratify, arguments.seed, notify=_note)
    out = arguments.out or arguments.manifest
    new.write(out)
    if old and arguments.out is None:
        _note(f"the {column}s that were there are replaced: {', '.join(f'{name} {n}' for name, n, *_ in old)}")
    rows = _rows(new, column, by)
    head = [column, "images", f"groups of {by}"][: len(rows[0])] if rows else [column, "images"]
    print(table([head, *rows]))
    print(f"manifest: {out}")


def _domain(text: str) -> tuple[str, str]:
    """Column and value of ``site=chase``."""
    name, mark, value = text.partition("=")
    if not (name and mark and value):
        raise ScantlingError(f"--leave-out {text} names no domain", do="write a column and a value: site=chase")
    return name, value


def _rows(manifest: Manifest, column: str, by: str | None) -> list[list[str]]:
    """Name, images and groups of every part, in the order train, val, test, or 0, 1, 2."""
    table = manifest.table
    if column not in table:
        return []
    groups = by if by in table else None
    parts = {str(name): part for name, part in table.groupby(column)}
    order: list[str] = [n for n in ("train", "val", "test") if n in parts] or list(parts)
    return [[n, str(len(parts[n])), *([str(parts[n][groups].nunique())] if groups else [])] for n in order]


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)
