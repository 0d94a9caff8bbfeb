"""What a function or class says of its arguments, read from its source: nothing is imported."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any, NamedTuple

import scantling

REQUIRED = object()
"""Default of an argument that has none."""


class Argument(NamedTuple):
    """One argument.

    Args:
        name: of the argument.
        kind: its type, as written.
        default: its value, :data:`REQUIRED`, or the source of one that is no literal.
        text: its lines in the docstring, plain.
    """

    name: str
    kind: str
    default: Any
    text: str


def arguments_of(module: str, name: str) -> dict[str, Argument]:
    """Arguments of a function, or fields of a dataclass, in order.

    Args:
        module: such as ``scantling.run.evaluate``.
        name: of the function or class in it.

    >>> arguments_of("scantling.core.errors", "nearest")["word"].kind
    'str'
    """
    tree = ast.parse(_source(module).read_text(encoding="utf-8"))
    node = next(n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name == name)
    told = argument_texts(ast.get_docstring(node) or "")
    declared = _parameters(node) if isinstance(node, ast.FunctionDef) else _fields(node)
    return {n: Argument(n, kind, default, plain(told.get(n, ""))) for n, kind, default in declared}


def argument_texts(docstring: str) -> dict[str, str]:
    """The part ``Args`` of a docstring in Google's style, each argument's lines joined.

    >>> argument_texts("Do.\\n\\nArgs:\\n    x: how much,\\n        at least.\\n\\nReturns:\\n    z: no.")
    {'x': 'how much, at least.'}
    """
    lines = inspect.cleandoc(docstring).splitlines()
    found: dict[str, str] = {}
    name = ""
    for line in lines[lines.index("Args:") + 1 :] if "Args:" in lines else []:
        if line and not line.startswith(" "):
            break
        match = re.match(r" {4}\*{0,2}(\w+)(?: \(.*?\))?: ?(.*)", line)
        if match:
            name, found[match[1]] = match[1], match[2].strip()
        elif name and line.strip():
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found


def plain(text: str) -> str:
    """A docstring's line without its marks and its full stop; ``None`` as it is written on a command line.

    >>> plain("``x`` or None, see :func:`~scantling.data.split.folds`.")
    'x or none, see folds'
    """
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", text)
    text = re.sub(r"`{1,2}([^`]*)`{1,2}", r"\1", text)
    return re.sub(r"(?<!\.)\.$", "", re.sub(r"\bNone\b", "none", text))


def _source(module: str) -> Path:
    path = Path(str(scantling.__file__)).parent.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _parameters(node: ast.FunctionDef) -> list[tuple[str, str, Any]]:
    parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    positional = [*node.args.posonlyargs, *node.args.args]
    late: list[ast.expr | None] = [*[None] * (len(positional) - len(node.args.defaults)), *node.args.defaults]
    return [
        (p.arg, _written(p.annotation), _value(d))
        for p, d in zip(parameters, [*late, *node.args.kw_defaults], strict=True)
    ]


def _fields(node: ast.ClassDef) -> list[tuple[str, str, Any]]:
    fields = (n for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name))
    return [(n.target.id, _written(n.annotation), _value(n.value)) for n in fields if isinstance(n.target, ast.Name)]


def _written(node: ast.expr | None) -> str:
    return "" if node is None else ast.unparse(node)


def _value(node: ast.expr | None) -> Any:
    if node is None:
        return REQUIRED
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)
