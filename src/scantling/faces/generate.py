"""``scantling generate``: synthetic images with their masks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scantling.core.errors import DataError
from scantling.faces.docs import arguments_of
from scantling.faces.parser import Parser
from scantling.faces.recipe_files import names_data, recipe_path, recipe_paths, short_options
from scantling.faces.recipe_options import common_keys


def configure(parser: Parser, words: Sequence[str]) -> None:
    """Options of :func:`scantling.run.generate.generate`."""
    docs = arguments_of("scantling.run.generate", "generate")
    parser.add("recipe", metavar="RECIPE", doc=docs["recipe"], suggest=list(recipe_paths()))
    parser.add("--data", metavar="MANIFEST", doc=docs["data"])
    parser.add("-o", "--out", metavar="FOLDER", doc=docs["out"])
    parser.add("-n", "--n", doc=docs["n"])
    for name in ("seed", "normals"):
        parser.add(f"--{name}", doc=docs[name])
    parser.add("--device", metavar="DEVICE", doc=docs["device"], suggest=("auto", "cpu", "cuda"))
    parser.add("--batch-size", doc=docs["batch_size"])
    parser.add("--workers", doc=docs["workers"])
    parser.keys = common_keys
    parser.short = short_options(words)
    parser.epilog = (
        "A recipe's settings are options too: --data.image_size 512 --task.synthesizer.strength '[0.5, 1.0]'.\n"
        "`scantling train RECIPE --help` lists them all."
    )


def run(arguments: argparse.Namespace) -> None:
    """Generate, and say where the manifest is."""
    path = recipe_path(arguments.recipe)
    if arguments.data is None and not names_data(path, arguments.overrides):
        raise DataError("no data given", do="name a manifest of normal images with --data FILE")
    from scantling.run.generate import generate
    from scantling.run.telling import counting

    with counting("writing images") as told:
        result = generate(
            arguments.recipe,
            arguments.data,
            arguments.out,
            n=arguments.n,
            seed=arguments.seed,
            normals=arguments.normals,
            device=arguments.device,
            batch_size=arguments.batch_size,
            workers=arguments.workers,
            overrides=arguments.overrides,
            progress=told,
        )
    print(f"{result.images} images" + (f", {result.empty} of them without a lesion" if result.empty else ""))
    print(f"manifest: {result.manifest}")
