"""``scantling completion``: a script that completes verbs, options and recipes in bash and zsh."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator, Sequence

from scantling.faces.commands import COMMANDS, Command
from scantling.faces.parser import Parser

_BASH = """\
# scantling completion for bash: source <(scantling completion bash)
_scantling() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} position=$COMP_CWORD
  local first=${{COMP_WORDS[1]-}} second=${{COMP_WORDS[2]-}} answer=
{body}
  COMPREPLY=($(compgen -W "$answer" -- "$current"))
}}
complete -o bashdefault -o default -F _scantling scantling
"""

_ZSH = """\
#compdef scantling
# scantling completion for zsh: source <(scantling completion zsh)
_scantling() {{
  local current=${{words[CURRENT]}} previous=${{words[CURRENT-1]}} position=$((CURRENT - 1))
  local first=${{words[2]}} second=${{words[3]}} answer=
{body}
  if [[ -n $answer ]]; then compadd -- ${{=answer}}; else _files; fi
}}
compdef _scantling scantling
"""

_BODY = """\
  local verb=""
  if [ "$position" -gt 1 ]; then verb=$first; fi
  case $verb in
    {groups}) if [ "$position" -gt 2 ]; then verb="$first $second"; fi ;;
  esac
  case "$verb $previous" in
{values}
    *) case "$verb" in
{words}
    esac ;;
  esac"""

_SHELLS = {"bash": _BASH, "zsh": _ZSH}


def configure(parser: Parser, words: Sequence[str]) -> None:
    """The shell."""
    parser.add("shell", choices=list(_SHELLS), doc="whose script to print: bash or zsh")
    parser.epilog = "Put `source <(scantling completion bash)` into ~/.bashrc, or the same with zsh into ~/.zshrc."


def run(arguments: argparse.Namespace) -> None:
    """Print the script."""
    print(script(arguments.shell), end="")


def script(shell: str) -> str:
    """The completion script of a shell, made from the verbs' own parsers."""
    groups = [name for name, command in COMMANDS.verbs.items() if command.verbs]
    words = [_case('""', [*COMMANDS.verbs, "--help", "--version"])]
    words += [_case(f'"{name}"', [*COMMANDS.verbs[name].verbs, "--help"]) for name in groups]
    values: list[str] = []
    for path, command in _leaves(COMMANDS, ()):
        parser = _parser(path, command)
        options = [*parser.options(), *(parser.keys() if parser.keys else ())]
        own = [word for a in parser._actions if not a.option_strings for word in parser.suggestions.get(a.dest, ())]
        name = " ".join(path)
        words.append(_branch(name, options, own))
        by_values: dict[str, list[str]] = {}
        for action in parser._actions:
            if action.option_strings and action.nargs != 0:
                answer = " ".join(parser.suggestions.get(action.dest, ()))
                by_values.setdefault(answer, []).extend(f'"{name} {flag}"' for flag in action.option_strings)
        values += [_case("|".join(flags), [answer]) for answer, flags in by_values.items()]
    body = _BODY.format(groups="|".join(groups), values="\n".join(values), words="\n".join(words))
    return _SHELLS[shell].format(body=body)


def _leaves(command: Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Command]]:
    for name, verb in command.verbs.items():
        if verb.module is None:
            yield from _leaves(verb, (*path, name))
        else:
            yield (*path, name), verb


def _parser(path: Sequence[str], command: Command) -> Parser:
    parser = Parser(" ".join(["scantling", *path]), command.summary)
    importlib.import_module(f"scantling.faces.{command.module}").configure(parser, [])
    return parser


def _case(pattern: str, words: Sequence[str]) -> str:
    return f'    {pattern}) answer="{" ".join(words)}" ;;'


def _branch(name: str, options: Sequence[str], words: Sequence[str]) -> str:
    """Options where the word begins with a dash; else the words that may stand there, or files."""
    return (
        f'    "{name}") case "$current" in -*) answer="{" ".join(options)}" ;; *) answer="{" ".join(words)}" ;; esac ;;'
    )
