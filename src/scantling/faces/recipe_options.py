"""The options of a recipe on the command line: which there are, and what they mean."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from scantling.faces.docs import arguments_of, plain
from scantling.faces.wording import width

_WIDTH = 100


def common_keys() -> list[str]:
    """Options that every recipe has, read without importing anything: ``--data.batch_size``, ``--trainer.seed``."""
    sections = {
        "data": ("scantling.data.settings", "DataSettings"),
        "trainer": ("scantling.run.settings", "TrainerSettings"),
    }
    keys = [f"--{section}.{name}" for section, place in sections.items() for name in arguments_of(*place)]
    return [*keys, "--monitor"]


def described(recipe: str, overrides: Sequence[str] = ()) -> str:
    """Every option of a recipe: type, value and meaning.

    Args:
        recipe: name or YAML file.
        overrides: options that were given; another class brings other options.

    Raises:
        RecipeError: no such recipe, or an override that it cannot take.
    """
    from scantling.run.recipe import options, resolve

    resolved = resolve(recipe, overrides)
    several = len(resolved.stages) > 1
    lines = [f"options of the recipe {resolved.name}, as --key VALUE:"]
    lines += [f"  --{name} VALUE is short for --{key} VALUE" for name, key in resolved.options.items()]
    tasks = {(f"stages.{s.name}.task" if several else "task"): s.plain["task"]["class_path"] for s in resolved.stages}
    for key, kind, value, text in options(resolved):
        prefix = key.rsplit(".adapter", 1)[0]
        if prefix in tasks:
            lines += ["", f"  --{prefix} CLASS = {tasks.pop(prefix)}"]
        lines += ["", *_option(key, kind, value, text)]
    return "\n".join(lines)


def _option(key: str, kind: str, value: Any, text: str) -> list[str]:
    head = f"  --{key}" + (f" {kind}" if kind else "") + (f" = {_shown(value)}" if _is_value(value) else "")
    wide = (width() or _WIDTH) - 2
    folded = textwrap.wrap(head, wide, subsequent_indent=" " * 6, break_long_words=False, break_on_hyphens=False)
    meant = textwrap.wrap(plain(text), wide, initial_indent=" " * 6, subsequent_indent=" " * 6, break_on_hyphens=False)
    return [*folded, *meant]


def _is_value(value: Any) -> bool:
    """Whether a setting is shown with its value: one that is made of further settings is not."""
    return not isinstance(value, Mapping) or "class_path" in value or not value


def _shown(value: Any) -> str:
    if isinstance(value, Mapping) and "class_path" in value:
        return str(value["class_path"])
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, default=str)
