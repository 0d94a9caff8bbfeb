"""The command line: finds the verb, runs it, and turns every error into one line."""

from __future__ import annotations

import importlib
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

from scantling import __version__
from scantling.core.errors import ScantlingError, nearest
from scantling.faces.commands import COMMANDS, Command
from scantling.faces.wording import verbs_help

PROGRAM = "scantling"
DEBUG = "SCANTLING_DEBUG"
WRONG_USE, INTERNAL, INTERRUPTED, CLOSED_PIPE = 2, 70, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after the program's name; left out, those of the process.

    Returns:
        Exit code: 0 done, 1 done and something was found (``data check``), 2 wrong use or unusable input, 70 an error
        of this program, 130 interrupted, 141 the reader of the output went away.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        warnings.showwarning = _show_warning
        try:
            code = _run(words)
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            return _closed_pipe()
        except (KeyboardInterrupt, SystemExit) as error:
            if isinstance(error, SystemExit) and not isinstance(error.__context__, KeyboardInterrupt):
                raise
            again = " with --resume" if words[:1] == ["train"] else ""
            return _fail(f"interrupted; run again{again}", INTERRUPTED)
        except ScantlingError as error:
            return _fail(f"error: {error}", WRONG_USE)
        except Exception as error:
            return _fail(_of_unexpected(error), INTERNAL)


def _run(words: list[str]) -> int:
    command, path, rest = _find(words)
    if rest[:1] == ["--version"] and not path:
        print(f"{PROGRAM} {__version__}")
        return 0
    if command.module is None:
        print(verbs_help(" ".join([PROGRAM, *path]), command))
        return 0
    verb = importlib.import_module(f"scantling.faces.{command.module}")
    from scantling.faces.parser import Parser, wants_help

    parser = Parser(" ".join([PROGRAM, *path]), command.summary)
    verb.configure(parser, rest)
    if wants_help(rest):
        parser.print_help()
        return 0
    return int(verb.run(parser.read(rest)) or 0)


def _find(words: list[str]) -> tuple[Command, list[str], list[str]]:
    """The command that the first words name, those words, and the rest.

    Raises:
        ScantlingError: a word that names none, with the nearest.
    """
    command, path = COMMANDS, list[str]()
    while command.verbs and len(words) > len(path):
        word = words[len(path)]
        if word in {"-h", "--help"} or (word == "--version" and not path):
            break
        if word not in command.verbs:
            dashed = word.startswith("-")
            known = ["--help", *([] if path else ["--version"])] if dashed else command.verbs
            raise ScantlingError(
                f"unknown {'option' if dashed else 'verb'} '{word}'{nearest(word, known)}",
                do=f"see `{' '.join([PROGRAM, *path])} --help`",
            )
        command, path = command.verbs[word], [*path, word]
    return command, path, words[len(path) :]


def _fail(text: str, code: int) -> int:
    if os.environ.get(DEBUG) and code != INTERRUPTED:
        import traceback

        traceback.print_exc()
    try:
        print(f"{PROGRAM}: {_one_line(text)}", file=sys.stderr, flush=True)
    except BrokenPipeError:
        return _closed_pipe()
    return code


def _of_unexpected(error: Exception) -> str:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"error: out of memory ({_one_line(str(error))[:160]}); use smaller batches or smaller images"
    told = f"{type(error).__name__}: {_one_line(str(error))[:400]}"
    return f"internal error: {told} (run with {DEBUG}=1 for the traceback)"


def _one_line(text: str) -> str:
    return re.sub(r"\s*[\r\n]+\s*", " ", text.strip())


def _closed_pipe() -> int:
    """Output nobody reads any more goes nowhere, so that Python does not complain when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nowhere, stream.fileno())
    return CLOSED_PIPE


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"{PROGRAM}: warning: {_one_line(str(message))}", file=file or sys.stderr)
