"""``scantling bench``: a plan of comparisons becomes a file of results."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scantling.faces.docs import arguments_of
from scantling.faces.parser import Parser


def configure(parser: Parser, words: Sequence[str]) -> None:
    """Options of :func:`scantling.run.bench.run_bench`."""
    docs = arguments_of("scantling.run.bench", "run_bench")
    parser.add("path", metavar="PLAN", doc=docs["path"])
    parser.add("-o", "--results", metavar="FOLDER", doc=docs["results"])
    parser.add("--only", metavar="NAME", nargs="+", type=str, doc=docs["only"])
    parser.add("--seeds", metavar="N", nargs="+", type=int, doc=docs["seeds"])
    parser.add("--workers", doc=docs["workers"])
    parser.add("--work", metavar="FOLDER", doc=docs["work"])
    parser.add("-q", "--quiet", action="store_true", doc="print no progress")


def run(arguments: argparse.Namespace) -> None:
    """Carry the plan out, and say where the results are."""
    from scantling.run.bench import run_bench

    file = run_bench(
        arguments.path,
        arguments.results,
        arguments.only,
        arguments.workers,
        not arguments.quiet,
        arguments.seeds,
        arguments.work,
    )
    print(f"results: {file}")
