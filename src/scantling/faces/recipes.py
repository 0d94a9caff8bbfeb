"""``scantling recipes``: the recipes of the package, or the YAML of one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scantling.core.errors import RecipeError
from scantling.faces.parser import Parser
from scantling.faces.recipe_files import recipe_path, recipe_paths
from scantling.faces.wording import table


def configure(parser: Parser, words: Sequence[str]) -> None:
    """An optional name."""
    parser.add("name", nargs="?", metavar="NAME", doc="show this recipe as YAML", suggest=list(recipe_paths()))


def run(arguments: argparse.Namespace) -> None:
    """Print a table, or one recipe."""
    if arguments.name is not None:
        path = recipe_path(arguments.name)
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise RecipeError("is not a text file", where=path, do="give a YAML file") from error
        print(text.rstrip())
        return
    rows = [["name", "paper", "task", "summary"], *(_row(name) for name in recipe_paths())]
    print(table(rows, gap="   "))
    print("\n`scantling recipes NAME` shows a recipe, `scantling train NAME --help` all of its options.")


def _row(name: str) -> list[str]:
    import yaml

    content = yaml.safe_load(recipe_paths()[name].read_text(encoding="utf-8"))
    stages = list((content.get("stages") or {"train": content}).values())
    task = content.get("task_name") or str((stages[-1].get("task") or {}).get("class_path", "")).rpartition(".")[2]
    paper = str(content.get("paper", "")).split(",")[0]
    return [name, paper, str(task), " ".join(str(content.get("summary", "")).split())]
