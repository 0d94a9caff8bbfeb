"""``scantling meter``: what a training step costs, without data, GPU or pretrained weights."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scantling.faces.docs import arguments_of
from scantling.faces.parser import Parser
from scantling.faces.recipe_files import recipe_path, recipe_paths
from scantling.faces.recipe_options import common_keys


def configure(parser: Parser, words: Sequence[str]) -> None:
    """Options of :func:`scantling.run.meter_recipe.meter_recipe`."""
    docs = arguments_of("scantling.run.meter_recipe", "meter_recipe")
    parser.add("recipes", nargs="+", metavar="RECIPE", doc=docs["recipe"], suggest=list(recipe_paths()))
    for name in ("size", "batch", "classes"):
        parser.add(f"--{name}", doc=docs[name])
    parser.add("--backbone", metavar="NAME", doc=docs["backbone"])
    for name in ("device", "attention"):
        parser.add(f"--{name}", doc=docs[name])
    parser.add("--json", action="store_true", doc="print the figures as JSON")
    parser.keys = common_keys
    parser.epilog = (
        "A recipe's settings are options too: --task.adapter.backbone resnet18 --trainer.precision bf16-mixed.\n"
        "`scantling train RECIPE --help` lists them all."
    )


def run(arguments: argparse.Namespace) -> None:
    """Print a table, one row a recipe."""
    for recipe in arguments.recipes:
        recipe_path(recipe)
    from scantling.run.meter_recipe import meter_recipe
    from scantling.run.metering import render_table

    names = ("size", "batch", "classes", "backbone", "device", "attention")
    settings = {name: getattr(arguments, name) for name in names}
    figures = {recipe: meter_recipe(recipe, arguments.overrides, **settings) for recipe in arguments.recipes}
    if arguments.json:
        import json

        print(json.dumps({name: metering.to_json() for name, metering in figures.items()}, indent=2))
    else:
        print(render_table(figures))
