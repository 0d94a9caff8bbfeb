"""``scantling evaluate``: how good a trained model is on labelled images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scantling.faces.docs import arguments_of
from scantling.faces.parser import Parser
from scantling.run.telling import counting

AUGMENTATIONS = ("none", "flips", "rotations", "scales")
SPLITS = ("train", "val", "test", "all")


def configure(parser: Parser, words: Sequence[str]) -> None:
    """Options of :func:`scantling.run.evaluate.evaluate`."""
    docs = arguments_of("scantling.run.evaluate", "evaluate")
    parser.add("path", metavar="MODEL", doc=docs["path"])
    parser.add("--data", metavar="MANIFEST", doc=docs["data"])
    parser.add("--split", choices=SPLITS, doc=docs["split"])
    parser.add("--by", nargs="+", metavar="COLUMN", doc=docs["by"])
    parser.add("--groups", metavar="MANY,FEW", doc=docs["groups"], suggest=("100,20", "tertiles"))
    parser.add("-o", "--out", metavar="FOLDER", doc=docs["out"])
    parser.add("--augmentation", choices=AUGMENTATIONS, doc=docs["augmentation"])
    parser.add("--tolerance", doc=docs["tolerance"])
    parser.add("--replicates", doc=docs["replicates"])
    parser.add("--device", metavar="DEVICE", doc=docs["device"], suggest=("auto", "cpu", "cuda"))
    parser.add("--batch-size", doc=docs["batch_size"])


def run(arguments: argparse.Namespace) -> None:
    """Evaluate, and print the figures and where they are."""
    from scantling.run.evaluate import evaluate

    with counting("evaluating images") as told:
        result = evaluate(
            arguments.path,
            arguments.data,
            split=arguments.split,
            out=arguments.out,
            by=tuple(arguments.by),
            augmentation=arguments.augmentation,
            replicates=arguments.replicates,
            device=arguments.device,
            batch_size=arguments.batch_size,
            progress=told,
            groups=arguments.groups,
            tolerance=arguments.tolerance,
        )
    print(result.summary())
