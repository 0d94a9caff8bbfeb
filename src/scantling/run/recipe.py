"""Recipes: from a name or a YAML file, with overrides, to checked stages."""

from __future__ import annotations

import copy
import inspect
import json
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from scantling.core.build import import_object
from scantling.core.errors import RecipeError, ScantlingError, nearest
from scantling.data.settings import DataSettings
from scantling.run.policies import takes_policy, written_out
from scantling.run.settings import TrainerSettings

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

ABOUT = ("summary", "paper", "task_name")
OPTIONS = "options"
SECTIONS = ("task", "data", "trainer", "monitor")
SINGLE_STAGE = "train"
STAGE_REFERENCE = "stage:"


@dataclass
class Stage:
    """One checked stage: plain settings to write down, and the parsed ones to build from.

    Args:
        name: of the stage; ``train`` where a recipe has only one.
        plain: task, data, trainer and monitor as plain content.
        parser: that read them.
        parsed: what it read.
    """

    name: str
    plain: dict[str, Any]
    parser: ArgumentParser
    parsed: Namespace

    def build(self) -> Namespace:
        """Instances: ``task``, ``data``, ``trainer``, ``monitor``.

        Raises:
            RecipeError: a value that its class refuses.
        """
        try:
            return self.parser.instantiate(self.parsed)
        except (TypeError, ValueError) as error:
            # The parser wraps what a class says into words about types.
            said: BaseException | None = error
            while said is not None:
                if isinstance(said, ScantlingError):
                    raise said from None
                said = said.__cause__ or said.__context__
            raise RecipeError(str(error).splitlines()[0], where=self.name, do="change the setting") from error


@dataclass
class Recipe:
    """A checked recipe.

    Args:
        name: of the recipe.
        about: summary and paper.
        stages: in order.
        options: short names of its own for dotted keys: ``{"lesion": "task.synthesizer.lesion"}`` makes ``--lesion`` an
            option.
    """

    name: str
    about: dict[str, str]
    stages: list[Stage]
    options: dict[str, str] = field(default_factory=dict)

    def to_yaml(self) -> str:
        """The resolved recipe: every default spelled out, readable again by :func:`read`."""
        content: dict[str, Any] = {"name": self.name, **self.about}
        if self.options:
            content[OPTIONS] = self.options
        if len(self.stages) == 1 and self.stages[0].name == SINGLE_STAGE:
            content.update(self.stages[0].plain)
        else:
            content["stages"] = {s.name: s.plain for s in self.stages}
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def recipe_files() -> dict[str, Path]:
    """The package's own recipes by name."""
    folder = Path(str(files("scantling") / "recipes"))
    return {p.stem: p for p in sorted(folder.glob("*.yaml"))}


def read(name: str | Path) -> tuple[str, dict[str, Any]]:
    """Name and plain content of a recipe of the package or of a YAML file.

    Raises:
        RecipeError: no such recipe, or no valid YAML.
    """
    own = recipe_files()
    path = own.get(str(name), Path(name))
    if not path.is_file():
        if path.is_dir() and (path / "recipe.yaml").is_file():
            path = path / "recipe.yaml"
        else:
            raise RecipeError(
                f"no recipe '{name}'{nearest(str(name), own)}", do="see `scantling recipes`, or give a YAML file"
            )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"is not valid YAML ({str(error).splitlines()[0]})", where=path, do="correct it") from error
    if not isinstance(content, dict):
        raise RecipeError("holds no settings", where=path, do="see the recipes of the package")
    return str(content.pop("name", path.stem)), content


def resolve(name: str | Path, overrides: Sequence[str] | Mapping[str, Any] = ()) -> Recipe:
    """Read a recipe, apply overrides, and check every key and type.

    Args:
        name: of a recipe of the package, or a YAML file.
        overrides: as on the command line (``["--data.batch_size", "8"]``), or ``{"data.batch_size": 8}``. In a recipe
            of several stages, keys begin with ``stages.<name>.``; ``data``, ``trainer`` and ``monitor`` alone mean all.
            The recipe's own ``options`` are short for such keys.

    Raises:
        RecipeError: an unknown key (with the nearest right one), a value of the wrong type, or a missing part.
    """
    title, content = read(name)
    about = {k: str(content.pop(k)).strip() for k in ABOUT if k in content}
    short = short_options(title, content)
    sections = _stages(title, content)
    arguments = [(short.get(key, key), value) for key, value in _as_pairs(overrides)]
    stages = []
    for stage, plain in sections.items():
        parser = _parser(f"{title}, stage {stage}" if len(sections) > 1 else title)
        own = _changes_of(stage, arguments, several=len(sections) > 1, names=list(sections))
        stages.append(_checked(stage, plain, parser, own))
    return Recipe(title, about, stages, short)


def short_options(title: str, content: dict[str, Any]) -> dict[str, str]:
    """Take the short names of dotted keys out of a recipe's content.

    Raises:
        RecipeError: no mapping from names to dotted keys.
    """
    found = content.pop(OPTIONS, None) or {}
    if not isinstance(found, dict) or not all(
        re.fullmatch(r"[a-z][a-z0-9-]*", str(name)) and str(key).partition(".")[0] in (*SECTIONS, "stages")
        for name, key in found.items()
    ):
        raise RecipeError(
            "'options' must map short names to dotted keys", where=title, do="write lesion: task.synthesizer.lesion"
        )
    return {str(name): str(key) for name, key in found.items()}


def refer(stage: Stage, folders: Mapping[str, Path]) -> Stage:
    """The stage with ``stage:<name>`` replaced by the bundle of that earlier stage.

    Raises:
        RecipeError: no such earlier stage.
    """

    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: replaced(v) for k, v in value.items()}
        if isinstance(value, list):
            return [replaced(v) for v in value]
        if isinstance(value, str) and value.startswith(STAGE_REFERENCE):
            name = value.removeprefix(STAGE_REFERENCE)
            if name not in folders:
                raise RecipeError(
                    f"there is no earlier stage '{name}'{nearest(name, folders)}", where=f"stage {stage.name}",
                    do="name a stage that comes before",
                )  # fmt: skip
            return str(folders[name])
        return value

    return _checked(stage.name, replaced(copy.deepcopy(stage.plain)), _parser(stage.name), [])


def options(recipe: Recipe) -> Iterator[tuple[str, str, Any, str]]:
    """Every option of a recipe: key, type, value and its line in the docstring."""
    several = len(recipe.stages) > 1
    for stage in recipe.stages:
        prefix = f"stages.{stage.name}." if several else ""
        for section in ("task", "data", "trainer"):
            kind = {"data": DataSettings, "trainer": TrainerSettings}.get(section)
            yield from _describe(f"{prefix}{section}", stage.plain[section], kind)
        yield f"{prefix}monitor", "str", stage.plain["monitor"], "validation figure that picks the best checkpoint"


def _describe(key: str, value: Any, kind: type | None) -> Iterator[tuple[str, str, Any, str]]:
    settings = value
    if isinstance(value, Mapping) and "class_path" in value:
        kind, settings = import_object(value["class_path"]), value.get("init_args") or {}
    if kind is None or not isinstance(settings, Mapping):
        return
    docs = argument_docs(kind)
    hints = {n: p.annotation for n, p in inspect.signature(kind).parameters.items()}
    types = _types(kind)
    for name, inner in settings.items():
        yield f"{key}.{name}", str(hints.get(name, "")).replace("typing.", ""), inner, docs.get(name, "")
        yield from _describe(f"{key}.{name}", inner, _dataclass_in(types.get(name)))


def argument_docs(kind: type) -> dict[str, str]:
    """The lines that a class's docstring gives its arguments."""
    from docstring_parser import parse

    return {p.arg_name: " ".join((p.description or "").split()) for p in parse(inspect.getdoc(kind) or "").params}


def _stages(title: str, content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    stages = content.pop("stages", None)
    if stages is None:
        _known(content, SECTIONS, title)
        return {SINGLE_STAGE: content}
    _known(content, ("stages", *ABOUT), title)
    if not isinstance(stages, dict) or not stages:
        raise RecipeError("'stages' must name at least one stage", where=title)
    for name, plain in stages.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]*", str(name)):
            raise RecipeError(f"'{name}' is no name for a stage", where=title, do="use small letters, digits and _")
        _known(plain, SECTIONS, f"{title}: stages.{name}")
    return stages


def _known(content: Any, names: Sequence[str], where: str) -> None:
    if not isinstance(content, dict):
        raise RecipeError("must be a mapping of settings", where=where)
    for key in content:
        if key not in names:
            raise RecipeError(
                f"unknown key '{key}'{nearest(str(key), names)}", where=where, do=f"use {', '.join(names)}"
            )


def _parser(title: str) -> ArgumentParser:
    from jsonargparse import ArgumentParser

    from scantling.tasks.task import Task

    parser = ArgumentParser(prog=title, exit_on_error=False, add_help=False)
    parser.add_subclass_arguments(Task, "task", required=True)
    parser.add_class_arguments(DataSettings, "data")
    parser.add_class_arguments(TrainerSettings, "trainer")
    parser.add_argument("--monitor", type=str | None, default=None)
    return parser


def _checked(stage: str, plain: dict[str, Any], parser: ArgumentParser, changes: Sequence[tuple[str, str]]) -> Stage:
    if not isinstance(plain.get("task"), dict) or "class_path" not in plain["task"]:
        raise RecipeError("a stage needs a task with a class_path", where=stage, do="such as scantling.tasks.Classify")
    for key, value in changes:
        override(plain, key, value)
    _check_keys(plain, stage)
    try:
        parsed = parser.parse_object({k: v for k, v in plain.items() if k in SECTIONS and v is not None})
    except RecipeError:
        raise
    except (Exception, SystemExit) as error:
        raise _plain_error(error) from error
    return Stage(stage, _as_plain(parsed), parser, parsed)


def _check_keys(plain: dict[str, Any], where: str) -> None:
    """Every key of every class in the recipe, against the class's own signature."""
    for section, kind in (("data", DataSettings), ("trainer", TrainerSettings)):
        _check_settings(plain.get(section) or {}, kind, f"{where}: {section}")
    _check_class(plain.get("task"), f"{where}: task")


def _check_class(value: Any, where: str) -> None:
    if not isinstance(value, dict) or "class_path" not in value:
        return
    _known(value, ("class_path", "init_args"), where)
    _check_settings(value.get("init_args") or {}, import_object(value["class_path"]), where)


def _check_settings(settings: Any, kind: type, where: str) -> None:
    parameters = [n for n in inspect.signature(kind).parameters if n not in {"outputs", "inputs"}]
    _known(settings, parameters, where)
    types = _types(kind)
    for name, value in settings.items():
        if isinstance(value, (int, float)) and str(value) in typing.get_args(types.get(name)):
            settings[name] = str(value)
        if takes_policy(types.get(name)):
            settings[name] = value = written_out(value, STAGE_REFERENCE)
        _check_class(value, f"{where}.{name}")
        inner = _dataclass_in(types.get(name))
        if inner is not None and isinstance(value, dict):
            _check_settings(value, inner, f"{where}.{name}")


def _types(kind: type) -> dict[str, Any]:
    """Types of the settings of a class; a type that is imported for type checkers alone counts as any."""
    unknown: dict[str, Any] = {}
    while True:
        try:
            what = kind if is_dataclass(kind) else inspect.getattr_static(kind, "__init__")
            return typing.get_type_hints(what, localns=unknown)
        except NameError as error:
            if error.name is None or error.name in unknown:
                raise
            unknown[error.name] = Any
        except TypeError:
            return {}


def _dataclass_in(hint: Any) -> type | None:
    return next((t for t in (hint, *typing.get_args(hint)) if isinstance(t, type) and is_dataclass(t)), None)


def _as_plain(parsed: Namespace) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(v) for v in value]
        return str(value) if isinstance(value, Path) else value

    return plain(parsed.as_dict())


def _as_pairs(overrides: Sequence[str] | Mapping[str, Any]) -> list[tuple[str, str]]:
    """Keys and raw values, from ``--key value``, ``--key=value`` or a mapping."""
    if isinstance(overrides, Mapping):
        return [(k, v if isinstance(v, str) else json.dumps(v)) for k, v in overrides.items()]
    pairs: list[tuple[str, str]] = []
    waiting: str | None = None
    for item in overrides:
        if waiting is not None:
            pairs.append((waiting, item))
            waiting = None
        elif item.startswith("--") and "=" in item:
            key, _, value = item[2:].partition("=")
            pairs.append((key, value))
        elif item.startswith("--"):
            waiting = item[2:]
        else:
            raise RecipeError(f"'{item}' stands alone", do="write options as --key value")
    if waiting is not None:
        raise RecipeError(f"--{waiting} has no value", do="write options as --key value")
    return pairs


def _changes_of(stage: str, pairs: list[tuple[str, str]], several: bool, names: list[str]) -> list[tuple[str, str]]:
    own = []
    for key, value in pairs:
        parts = key.split(".")
        if parts[0] == "stages" and several:
            if len(parts) < 3 or parts[1] not in names:
                word = parts[1] if len(parts) > 1 else ""
                raise RecipeError(f"--{key}: no stage '{word}'{nearest(word, names)}", do=f"stages: {', '.join(names)}")
            if parts[1] == stage:
                own.append((".".join(parts[2:]), value))
        elif several and parts[0] == "task":
            raise RecipeError(f"--{key}: say of which stage", do=f"write --stages.{names[0]}.{key} {value}")
        elif parts[0] not in SECTIONS:
            raise RecipeError(
                f"unknown option --{key}{nearest(parts[0], SECTIONS)}", do=f"begin with {', '.join(SECTIONS)}"
            )
        else:
            own.append((key, value))
    return own


def override(plain: dict[str, Any], key: str, value: str) -> None:
    """Set one setting of a stage by its dotted key; ``init_args`` may be left out of it.

    A class is replaced by naming another one: settings that the new class also knows are kept.

    Raises:
        RecipeError: no such setting, with the nearest right key.
    """
    section, *parts = [p for p in key.split(".") if p not in {"init_args", "class_path"}]
    if not parts and section != "monitor" and section != "task":
        raise RecipeError(
            f"--{key}: a section has no value", do=f"set one of its options, such as --{section}.<option>"
        )
    kinds: dict[str, type | None] = {"data": DataSettings, "trainer": TrainerSettings}
    holder, name, kind = plain, section, kinds.get(section)
    hint: Any = None
    for part in parts:
        found = holder.get(name)
        if takes_policy(hint):
            found = holder[name] = written_out(found, STAGE_REFERENCE)
        if isinstance(found, dict) and "class_path" in found:
            kind = import_object(found["class_path"])
            found = found.setdefault("init_args", {})
        elif found is None and kind is not None:
            found = holder[name] = {}
        if kind is None or not isinstance(found, dict):
            raise RecipeError(f"unknown option --{key}: '{name}' has no settings of its own", do=f"set --{key} itself")
        names = [n for n in inspect.signature(kind).parameters if n not in {"outputs", "inputs"}]
        if part not in names:
            raise RecipeError(f"unknown option --{key}{nearest(part, names)}", do=f"known here: {', '.join(names)}")
        holder, name, owner = found, part, kind
        kind = _dataclass_in(_types(owner).get(part))
        hint = _types(owner).get(part)
    if section in {"monitor", "task"} and not parts:
        hint = str if section == "monitor" else None
    holder[name] = _replaced_class(holder.get(name), value) if _names_class(value) else _value(value, hint)


def _names_class(value: str) -> bool:
    return re.fullmatch(r"[a-z_]\w*(\.\w+)*\.[A-Z]\w*", value) is not None


def _replaced_class(old: Any, class_path: str) -> dict[str, Any]:
    known = inspect.signature(import_object(class_path)).parameters
    kept = (old.get("init_args") or {}) if isinstance(old, dict) else {}
    return {"class_path": class_path, "init_args": {k: v for k, v in kept.items() if k in known}}


def _value(text: str, hint: Any) -> Any:
    """A value from the command line; words stay words where the setting takes words."""
    kinds = [hint, *typing.get_args(hint)]
    literals = [a for k in kinds if typing.get_origin(k) is typing.Literal for a in typing.get_args(k)]
    if text in literals:
        return text
    if hint is str:
        return text
    if text.lower() in {"null", "none", "~"}:
        return None
    if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text):
        return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)
    if str in kinds and not text.startswith(("[", "{")):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _plain_error(error: BaseException) -> RecipeError:
    """One line from a parser's many."""
    text = str(error)
    keys = re.findall(r'Parser key "([\w.]+)"', text)
    reasons = re.findall(r"(?m)^\s*-?\s*((?:Expected|Not of type|Does not have|Import|Invalid)[^\n]*)", text)
    reasons = [r for r in reasons if "NoneType" not in r] or [text.strip().splitlines()[-1].strip()]
    return RecipeError(
        _shorten(reasons[0]), where=".".join(dict.fromkeys(keys)) or None, do="see `scantling train RECIPE --help`"
    )


def _shorten(reason: str) -> str:
    reason = re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", reason)
    return reason[:240].rstrip(". ")
