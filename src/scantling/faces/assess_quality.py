"""``scantling assess quality``: how good images are, by a model that learned good ones alone."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scantling.faces.docs import arguments_of
from scantling.faces.parser import Parser
from scantling.run.telling import counting


def configure(parser: Parser, words: Sequence[str]) -> None:
    """Options of :func:`scantling.run.assess_quality.assess_quality`."""
    docs = arguments_of("scantling.run.assess_quality", "assess_quality")
    parser.add("bundle", metavar="MODEL", doc=docs["bundle"])
    parser.add(
        "images", nargs="+", metavar="IMAGES", doc=arguments_of("scantling.run.listing", "list_images")["images"]
    )
    parser.add("-o", "--out", metavar="FOLDER", required=True, doc="folder of the results")
    parser.add("--clusters", metavar="WHERE", doc=docs["clusters"], suggest=("batch", "bundle"))
    parser.add("--split", choices=("train", "val", "test"), doc=docs["split"])
    parser.add("--device", metavar="DEVICE", doc=docs["device"], suggest=("auto", "cpu", "cuda"))
    parser.add("--batch-size", doc=docs["batch_size"])
    parser.add("--workers", doc=docs["workers"])
    parser.add("--seed", doc=docs["seed"])


def run(arguments: argparse.Namespace) -> None:
    """Assess, and say where the results are."""
    from scantling.run.assess_quality import assess_quality

    images = arguments.images if len(arguments.images) > 1 else arguments.images[0]
    with counting("assessing images") as told:
        result = assess_quality(
            arguments.bundle,
            images,
            arguments.out,
            clusters=arguments.clusters,
            batch_size=arguments.batch_size,
            device=arguments.device,
            split=arguments.split,
            workers=arguments.workers,
            seed=arguments.seed,
            progress=told,
        )
    print(f"{result.rows} images: {result.summary()}")
    print(f"table: {result.path}")
    print(f"report: {result.report}")
