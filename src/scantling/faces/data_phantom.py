"""``scantling data phantom``: synthetic images with exact truth."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scantling.faces.docs import arguments_of
from scantling.faces.parser import Parser, number
from scantling.run.telling import counting

KINDS = ("fundus",)


def configure(parser: Parser, words: Sequence[str]) -> None:
    """Options of :func:`scantling.data.phantoms.write_fundus`."""
    docs = arguments_of("scantling.data.phantoms.write", "write_fundus")
    parser.add("kind", choices=KINDS, doc=f"what the images show: {', '.join(KINDS)}")
    parser.add("-o", "--out", metavar="FOLDER", required=True, doc=docs["folder"])
    for name in ("n", "sites", "size", "seed", "degraded", "workers"):
        parser.add(f"--{name}", doc=docs[name])
    parser.add("--fractions", nargs=3, type=number, metavar=("TRAIN", "VAL", "TEST"), doc=docs["fractions"])
    parser.add("--prior", metavar="NAME", doc=docs["prior"])


def run(arguments: argparse.Namespace) -> None:
    """Draw and write them."""
    from scantling.data.phantoms import write_fundus

    with counting("drawing images") as told:
        manifest = write_fundus(
            arguments.out,
            n=arguments.n,
            sites=arguments.sites,
            size=arguments.size,
            seed=arguments.seed,
            degraded=arguments.degraded,
            fractions=arguments.fractions,
            workers=arguments.workers,
            progress=told,
            prior=arguments.prior,
        )
    print(f"{arguments.n} images")
    print(f"manifest: {manifest}")
