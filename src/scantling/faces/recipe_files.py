"""The package's recipes as files: found without importing what reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from scantling.core.errors import RecipeError, nearest


def recipe_paths() -> dict[str, Path]:
    """The package's own recipes by name."""
    return {p.stem: p for p in sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))}


def recipe_path(name: str) -> Path:
    """The file of a recipe of the package, of a run folder, or the YAML file itself.

    Raises:
        RecipeError: there is none, with the nearest name.
    """
    own = recipe_paths()
    places = [own.get(name, Path(name)), Path(name) / "recipe.yaml"]
    for place in places:
        if place.is_file():
            return place
    raise RecipeError(f"no recipe '{name}'{nearest(name, own)}", do="see `scantling recipes`, or give a YAML file")


def names_data(path: Path, overrides: Sequence[str]) -> bool:
    """Whether a recipe, or an option given with it, says which data to train on; true where it cannot be told."""
    import yaml

    if any(re.match(r"--(stages\.\w+\.)?data\.manifest\b", word) for word in overrides):
        return True
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        stages = list((content.get("stages") or {"train": content}).values())
        return any((stage.get("data") or {}).get("manifest") for stage in stages)
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError):
        return True


def short_options(words: Sequence[str]) -> list[str]:
    """Options that the recipe named by one of the words declares as short for longer keys: ``--lesion``."""
    import yaml

    own = recipe_paths()
    for word in words:
        places = [own.get(word, Path(word)), Path(word) / "recipe.yaml"]
        place = next((p for p in places if p.suffix in {".yaml", ".yml"} and p.is_file()), None)
        if place is None:
            continue
        try:
            content = yaml.safe_load(place.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            continue
        declared = content.get("options") if isinstance(content, dict) else None
        return [f"--{name}" for name in declared] if isinstance(declared, dict) else []
    return []
