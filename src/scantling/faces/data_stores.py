"""``scantling data stores``: what the cache holds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scantling.faces.parser import Parser
from scantling.faces.wording import size, table


def configure(parser: Parser, words: Sequence[str]) -> None:
    """Options of :mod:`scantling.data.cache`."""
    doc = "the cache folder (default $SCANTLING_CACHE, else ~/.cache/scantling)"
    parser.add("--remove", metavar="KEY", nargs="+", doc="delete these stores")
    parser.add("--folder", metavar="FOLDER", doc=doc)


def run(arguments: argparse.Namespace) -> None:
    """List the stores, or delete some."""
    from scantling.core.files import cache_folder
    from scantling.data.cache import remove, stores

    for key in arguments.remove or ():
        remove(key, arguments.folder)
        print(f"removed: {key}")
    if arguments.remove:
        return
    found = stores(arguments.folder)
    rows = [[s.key, f"{s.rows:>6}", f"{size(s.bytes):>6}", "complete" if s.complete else "unfinished"] for s in found]
    if rows:
        print(table([["key", "images", "  size", "state"], *rows]))
    print(f"{len(found)} stores, {size(sum(s.bytes for s in found))}")
    print(f"cache: {cache_folder(arguments.folder)}")
