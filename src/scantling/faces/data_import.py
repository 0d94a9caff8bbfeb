"""``scantling data import``: a manifest from a data set in a known layout."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from scantling.core.errors import DataError, ScantlingError, nearest
from scantling.faces.docs import arguments_of
from scantling.faces.parser import Parser, words_after
from scantling.faces.wording import table

LIST = "list"


def configure(parser: Parser, words: Sequence[str]) -> None:
    """The verb's own options, and those of the layout that the words name."""
    known = layouts()
    parser.add("source", nargs="?", metavar="SOURCE", doc="the folder or table of the data set")
    parser.add(
        "--layout", metavar="NAME", doc=f"how the data set lies on disk: {', '.join(known)}; {LIST} describes them",
        suggest=[*known, LIST],
    )  # fmt: skip
    parser.add("-o", "--out", metavar="FILE", doc="the manifest to write, .csv or .parquet")
    layout = words_after(words, "--layout")
    if layout is None or layout == LIST:
        for option in dict.fromkeys(option for name in known for option in options_of(name)):
            parser.add(flag(option), doc=argparse.SUPPRESS)
        parser.epilog = "`scantling data import --layout NAME --help` shows the options of a layout."
    elif layout not in known:
        raise DataError(
            f"unknown layout '{layout}'{nearest(layout, known)}", where="--layout", do=f"use one of {', '.join(known)}"
        )
    else:
        for option in options_of(layout):
            doc = arguments_of(f"scantling.data.layouts.{layout}", "load")[option]
            parser.add(flag(option), doc=doc, dest=f"layout_{option}")


def run(arguments: argparse.Namespace) -> None:
    """Write the manifest."""
    if arguments.layout == LIST:
        print(table([[name, summary] for name, summary in layouts().items()]))
        return
    for name, value in (("--layout NAME", arguments.layout), ("SOURCE", arguments.source), ("-o FILE", arguments.out)):
        if value is None:
            raise ScantlingError(f"missing: {name}", do="see `scantling data import --help`")
    from scantling.data.layouts import import_layout

    names = options_of(arguments.layout)
    given = {name: getattr(arguments, f"layout_{name}") for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    try:
        manifest = import_layout(arguments.layout, arguments.source, arguments.out, **given)
    except DataError as error:
        raise DataError(error.what, where=error.where, do=_as_flags(error.do, names)) from error
    print(f"{len(manifest)} images, target {manifest.target.spec}")
    print(f"manifest: {arguments.out}")


def layouts() -> dict[str, str]:
    """Names of the layouts and a line about each, without importing them."""
    import ast

    folder = Path(__file__).parents[1] / "data" / "layouts"
    files = [f for f in sorted(folder.glob("*.py")) if not f.name.startswith("_")]
    told = {f.stem: ast.get_docstring(ast.parse(f.read_text(encoding="utf-8"))) or "" for f in files}
    return {name: text.splitlines()[0] if text else "" for name, text in told.items()}


def options_of(layout: str) -> list[str]:
    """Names of a layout's options."""
    return [n for n in arguments_of(f"scantling.data.layouts.{layout}", "load") if n not in {"source", "manifest"}]


def flag(option: str) -> str:
    """An option as it is written on the command line."""
    return f"--{option.replace('_', '-')}"


def _as_flags(text: str | None, names: Iterable[str]) -> str | None:
    """Advice that names arguments (``suffix=.png``), for the command line."""
    if text is None:
        return None
    for name in names:
        text = re.sub(rf"\b{name}=(?=\w|\.\w)", f"{flag(name)} ", text)
        text = re.sub(rf"\b{name}=", flag(name), text)
    return text
