"""``scantling meter``: what a training step costs, without data, GPU or pretrained weights."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scantling.core.errors import RecipeError, nearest
from scantling.faces.docs import arguments_of
from scantling.faces.parser import Parser
from scantling.faces.recipe_files import recipe_path, recipe_paths, short_options
from scantling.faces.recipe_options import common_keys
from scantling.run.metering import CHECKPOINTING


def configure(parser: Parser, words: Sequence[str]) -> None:
    """Options of :func:`scantling.run.meter_recipe.meter_recipes`."""
    docs = arguments_of("scantling.run.meter_recipe", "meter_recipes")
    parser.add("recipes", nargs="+", metavar="RECIPE", doc=docs["recipes"], suggest=list(recipe_paths()))
    for name in ("size", "batch", "classes"):
        parser.add(f"--{name}", doc=docs[name])
    parser.add("--backbone", metavar="NAME", doc=docs["backbone"])
    for name in ("device", "attention"):
        parser.add(f"--{name}", doc=docs[name])
    parser.add(
        "--score", action="append", default=[], type=_score, metavar="RECIPE=X",
        doc="a recipe's score, for its PPE and PME; left out, 100; may be given for each recipe",
    )  # fmt: skip
    parser.add("--json", action="store_true", doc="print the figures as JSON")
    parser.keys = common_keys
    parser.short = short_options(words)
    parser.epilog = (
        "A recipe's settings are options too: --task.adapter.backbone resnet18 --trainer.precision bf16-mixed.\n"
        "`scantling train RECIPE --help` lists them all."
    )


def run(arguments: argparse.Namespace) -> None:
    """Print a table, one row a recipe."""
    for recipe in arguments.recipes:
        recipe_path(recipe.removesuffix(CHECKPOINTING))
    scores = dict(arguments.score)
    for recipe in scores.keys() - set(arguments.recipes):
        near = nearest(recipe, arguments.recipes)
        raise RecipeError(f"a score for '{recipe}', which is not metered{near}", where="--score", do="name its recipe")
    from scantling.run.meter_recipe import meter_recipes
    from scantling.run.metering import SCORE, efficiency, render_table

    names = ("size", "batch", "classes", "backbone", "device", "attention")
    settings = {name: getattr(arguments, name) for name in names}
    figures = meter_recipes(arguments.recipes, arguments.overrides, **settings)
    if arguments.json:
        import json

        content = {n: m.to_json() | efficiency(m, scores.get(n, SCORE)) for n, m in figures.items()}
        print(json.dumps(content, indent=2))
    else:
        print(render_table(figures, scores))


def _score(word: str) -> tuple[str, float]:
    recipe, _, value = word.rpartition("=")
    try:
        return recipe, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{word}' is no score; write RECIPE=87.12") from None
