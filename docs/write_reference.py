"""Writes the reference pages ``cli.md`` and ``options.md`` from the code. Run as ``python docs/write_reference.py``."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import re
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scantling.faces.commands import COMMANDS, Command
from scantling.faces.parser import Parser

DOCS = Path(__file__).parent
GENERATED = "<!-- Written by docs/write_reference.py; change the code, not this page. -->"


def main() -> None:
    """Write both pages."""
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Content of the generated pages by file name."""
    return {"cli.md": cli_page(), "options.md": options_page()}


def cli_page() -> str:
    """Every verb with its options."""
    lines = [
        "# Commands",
        GENERATED,
        "`scantling VERB --help` says the same on the terminal. Exit codes: 0 done; 1 done, and `data check` found "
        "errors; 2 wrong use or unusable input, with one line that says what to do; 70 an error of the program; 130 "
        "interrupted. `SCANTLING_DEBUG=1` shows tracebacks, `SCANTLING_CACHE` names the folder of decoded images.",
    ]
    for path, command in verbs(COMMANDS):
        name = " ".join(path)
        lines += [f"## scantling {name}", command.summary, *_verb(path, command, [])]
        if name == "data import":
            lines += _layouts(path, command)
        if name == "data phantom":
            lines += _phantoms(path, command)
    return _page(lines)


def verbs(command: Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Command]]:
    """All verbs that do something, with the words that name them."""
    for name, verb in command.verbs.items():
        if verb.module is not None:
            yield (*path, name), verb
        yield from verbs(verb, (*path, name))


def parser_of(path: Sequence[str], command: Command, words: Sequence[str]) -> Parser:
    """The parser that reads the words behind a verb."""
    parser = Parser(" ".join(["scantling", *path]), command.summary)
    importlib.import_module(f"scantling.faces.{command.module}").configure(parser, list(words))
    return parser


def _verb(path: Sequence[str], command: Command, words: Sequence[str]) -> list[str]:
    parser = parser_of(path, command, words)
    notes = [_text(line) for line in (parser.epilog or "").strip().splitlines() if not line.startswith(" ")]
    return [_table(["argument", "value", "meaning"], [_row(a) for a in _shown(parser)]), " ".join(notes)]


def _shown(parser: Parser) -> list[argparse.Action]:
    return [a for a in parser._actions if not isinstance(a, argparse._HelpAction) and a.help != argparse.SUPPRESS]


def _row(action: argparse.Action) -> list[str]:
    return [_flags(action), _code(_value(action)), _text(action.help or "")]


def _layouts(path: Sequence[str], command: Command) -> list[str]:
    from scantling.data import layouts

    common = {a.dest for a in _shown(parser_of(path, command, []))}
    lines = []
    for name in layouts.names():
        own = [a for a in _shown(parser_of(path, command, ["--layout", name])) if a.dest not in common]
        about = (importlib.import_module(f"scantling.data.layouts.{name}").__doc__ or "").splitlines()[0]
        lines += [f"### Layout {name}", _text(about), _table(["option", "value", "meaning"], [_row(a) for a in own])]
    return lines


def _phantoms(path: Sequence[str], command: Command) -> list[str]:
    from scantling.faces.data_phantom import KINDS

    common = {a.dest for a in _shown(parser_of(path, command, []))}
    lines = []
    for kind in KINDS:
        own = [a for a in _shown(parser_of(path, command, [kind])) if a.dest not in common]
        lines += [f"### Phantoms {kind}", _table(["option", "value", "meaning"], [_row(a) for a in own])]
    return lines


def _flags(action: argparse.Action) -> str:
    shown = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    return ", ".join(f"`{flag}`" for flag in action.option_strings) or _code(shown)


def _value(action: argparse.Action) -> str:
    if not action.option_strings or action.nargs == 0:
        return ""
    if action.choices:
        return ", ".join(map(str, action.choices))
    metavar = action.metavar or action.dest.upper()
    return " ".join(metavar) if isinstance(metavar, tuple) else metavar


def options_page() -> str:
    """Every option of a recipe, by the class that takes it."""
    from scantling import adapt
    from scantling.augment import FixedPolicy, KorniaPolicy
    from scantling.core.seams import Objective
    from scantling.data.settings import DataSettings
    from scantling.run.settings import TrainerSettings
    from scantling.tasks import objectives
    from scantling.tasks.classify import Classify
    from scantling.tasks.classify_two_views import ClassifyTwoViews
    from scantling.tasks.optim import OptimizerSettings, ScheduleSettings
    from scantling.tasks.segment import Segment

    lines = [
        "# Options of a recipe",
        GENERATED,
        "On the command line as `--data.batch_size 8`, in Python as `overrides={\"data.batch_size\": 8}`, in a "
        "recipe's file under the same names. A recipe brings its own values; `scantling train RECIPE --help` shows "
        "those. The column *default* is what holds where a recipe says nothing.",
        "## data", _class(DataSettings),
        "### data.policy", "`scantling.augment.FixedPolicy`, fast, for what most recipes need:", _class(FixedPolicy),
        "`scantling.augment.KorniaPolicy`, for any other operation of kornia, such as elastic deformation:",
        _class(KorniaPolicy),
        "## trainer", _class(TrainerSettings),
        "## task.optimizer", _class(OptimizerSettings),
        "## task.schedule", _class(ScheduleSettings),
        "## task", "### scantling.tasks.Classify", _class(Classify),
        "### scantling.tasks.ClassifyTwoViews", _class(ClassifyTwoViews),
        "### scantling.tasks.Segment", _class(Segment),
        "## task.adapter",
    ]  # fmt: skip
    for name in adapt.__all__:
        lines += [f"### scantling.adapt.{name}", _first_line(getattr(adapt, name)), _class(getattr(adapt, name))]
    lines += ["## task.objective"]
    kinds: dict[str, Any] = {name: getattr(objectives, name) for name in objectives.__all__}
    for name, kind in kinds.items():
        if inspect.isclass(kind) and issubclass(kind, Objective) and name != "TargetObjective":
            targets = "For targets of the kind " + " or ".join(f"`{k}`" for k in kinds[name].kinds) + "."
            lines += [f"### scantling.tasks.objectives.{name}", f"{_first_line(kind)} {targets}", _class(kind)]
    lines += ["## task.contrast", "Of the task `scantling.tasks.ClassifyTwoViews`."]
    for name, kind in kinds.items():
        if inspect.isclass(kind) and issubclass(kind, objectives.Contrast) and kind is not objectives.Contrast:
            lines += [f"### scantling.tasks.objectives.{name}", _first_line(kind), _class(kind)]
    lines += [
        "## monitor",
        "Validation figure that picks the best checkpoint; left out, the first metric of the target.",
    ]
    return _page(lines)


def _class(kind: type) -> str:
    from scantling.run.recipe import argument_docs

    told, hints = argument_docs(kind), _hints(kind)
    rows = [
        [
            _code(name),
            _code(_type(hints.get(name, p.annotation))),
            _code(_default(p.default)),
            _text(told.get(name, "")),
        ]
        for name, p in inspect.signature(kind).parameters.items()
        if name not in {"outputs", "inputs"}
    ]
    return _table(["option", "type", "default", "meaning"], rows) if rows else "No options."


def _hints(kind: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind if dataclasses.is_dataclass(kind) else kind.__init__)
    except NameError:
        return {}


def _type(annotation: Any) -> str:
    """A type in a reader's words; the choices where there are choices."""
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(map(str, typing.get_args(annotation)))
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " or ".join(_type(a) for a in typing.get_args(annotation) if a is not type(None))
    text = annotation.__name__ if inspect.isclass(annotation) and not typing.get_args(annotation) else str(annotation)
    return re.sub(r"(?:\w+\.)+(\w+)", r"\1", re.sub(r"Literal\[([^\]]*)\]", lambda m: m[1].replace("'", ""), text))


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return ""
    if type(value).__name__ == "_HAS_DEFAULT_FACTORY_CLASS" or isinstance(value, dataclasses.Field):
        return "[]"
    words = {None: "none", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    return value if isinstance(value, str) else repr(list(value) if isinstance(value, tuple) else value)


def _first_line(kind: type) -> str:
    return _text((inspect.getdoc(kind) or "").split("\n\n")[0])


def _text(text: str) -> str:
    """A docstring's words as Markdown, on one line; what is not code holds nothing that Markdown or HTML would take."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", " ".join(text.replace("%%", "%").replace("``", "`").split()))
    parts = text.split("`")
    parts[::2] = [re.sub(r"([*<])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "No options."
    cells = [list(head), ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells)


def _page(lines: Sequence[str]) -> str:
    return "\n\n".join(line for line in lines if line) + "\n"


if __name__ == "__main__":
    main()
