"""``scantling data contact-sheet``: what a policy makes of a few images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scantling.faces.docs import arguments_of
from scantling.faces.parser import Parser


def configure(parser: Parser, words: Sequence[str]) -> None:
    """Options of :func:`scantling.run.contact_sheet.contact_sheet`."""
    docs = arguments_of("scantling.run.contact_sheet", "contact_sheet")
    parser.add("images", metavar="IMAGES", doc=docs["images"])
    parser.add("--policy", metavar="NAME|PATH", required=True, doc=docs["policy"].text)
    parser.add("-o", "--out", metavar="FILE", required=True, doc=docs["out"].text)
    for name in ("rows", "columns", "size", "seed"):
        parser.add(f"--{name}", doc=docs[name])


def run(arguments: argparse.Namespace) -> None:
    """Draw the sheet."""
    from scantling.run.contact_sheet import contact_sheet

    sheet = contact_sheet(
        arguments.images,
        arguments.out,
        arguments.policy,
        rows=arguments.rows,
        columns=arguments.columns,
        size=arguments.size,
        seed=arguments.seed,
    )
    print(f"sheet: {sheet}")
