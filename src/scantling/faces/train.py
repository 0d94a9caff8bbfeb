"""``scantling train``: a recipe and a manifest become a run folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from scantling.core.errors import DataError, ScantlingError
from scantling.faces.docs import arguments_of
from scantling.faces.parser import Parser, wants_help
from scantling.faces.recipe_files import names_data, recipe_path, recipe_paths, short_options
from scantling.faces.recipe_options import common_keys, described


def configure(parser: Parser, words: Sequence[str]) -> None:
    """Options of :func:`scantling.run.train.train`; with a recipe and ``--help`` also all of the recipe's."""
    docs = arguments_of("scantling.run.train", "train")
    parser.add("recipe", metavar="RECIPE", doc=docs["recipe"], suggest=list(recipe_paths()))
    parser.add("--data", metavar="MANIFEST", doc=docs["data"])
    parser.add("-o", "--out", metavar="FOLDER", doc=docs["out"])
    parser.add("--resume", doc=docs["resume"])
    parser.add("-q", "--quiet", action="store_true", doc="print no progress")
    parser.keys = common_keys
    parser.short = short_options(words)
    if wants_help(words):
        parser.epilog = _help_of(parser, [word for word in words if word not in {"-h", "--help"}])


def run(arguments: argparse.Namespace) -> None:
    """Train, and say where the results are."""
    path = recipe_path(arguments.recipe)
    if arguments.data is not None and not Path(arguments.data).is_file():
        raise DataError("no such file", where=arguments.data, do="name a manifest with --data FILE")
    if arguments.data is None and not names_data(path, arguments.overrides):
        raise DataError("no data given", do="name a manifest with --data FILE; make one with `scantling data import`")
    from scantling.run.ranks import is_worker
    from scantling.run.train import train

    result = train(
        arguments.recipe,
        data=arguments.data,
        out=arguments.out,
        resume=arguments.resume,
        overrides=arguments.overrides,
        progress=not arguments.quiet,
    )
    if not is_worker():
        print(result.summary())
        print(f"run: {result.folder}")


def _help_of(parser: Parser, words: Sequence[str]) -> str:
    """All options of the recipe that the words name, or how to see them."""
    try:
        arguments = parser.read(words)
    except ScantlingError:
        return (
            "Every setting of a recipe is an option too: --task.adapter.backbone resnet18 --trainer.max_epochs 10.\n"
            "`scantling train RECIPE --help` lists them all; `scantling recipes` lists the recipes."
        )
    return described(arguments.recipe, arguments.overrides)
