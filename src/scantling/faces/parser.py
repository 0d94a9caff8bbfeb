"""Options of a verb: declared from signatures, with errors of one line that name the nearest option."""

from __future__ import annotations

import argparse
import ast
import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from scantling.core.errors import ScantlingError, nearest
from scantling.faces.docs import REQUIRED, Argument

_PHRASES = {
    r"the following arguments are required: (.*)": r"missing: \1",
    r"expected one argument": "needs a value",
    r"expected at least one argument": "needs at least one value",
    r"expected (\d+) arguments": r"needs \1 values",
    r"ignored explicit argument .*": "takes no value",
}


class Parser(argparse.ArgumentParser):
    """Reads the words behind a verb.

    Args:
        program: the words before, for usage lines.
        summary: a line about the verb.
    """

    def __init__(self, program: str, summary: str) -> None:
        super().__init__(
            prog=program,
            description=summary,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.keys: Callable[[], Iterable[str]] | None = None
        """Where a verb takes a recipe's options (``--trainer.max_epochs 10``): the keys that are known beforehand."""
        self.short: Sequence[str] = ()
        """Names of the options that the recipe itself declares as short for longer keys (``--lesion``)."""
        self.suggestions: dict[str, Sequence[str]] = {}
        """Words that complete an argument, by its destination."""

    def add(self, *flags: str, doc: Argument | str, suggest: Sequence[str] = (), **settings: Any) -> None:
        """An option or positional word.

        Args:
            *flags: ``-o``, ``--out``, or the name of a positional word.
            doc: its help, or the argument of a function that it is handed to: help, default and type are then its own.
            suggest: words that complete it.
            **settings: of :meth:`add_argument`, before what ``doc`` says.
        """
        text = doc if isinstance(doc, str) else doc.text
        dashed = flags[0].startswith("-")
        if "choices" in settings:
            settings.setdefault("metavar", "|".join(settings["choices"]) if dashed else flags[0].upper())
            settings["type"] = one_of(settings["choices"])
        if isinstance(doc, Argument):
            settings = {**_from_signature(doc, dashed), **settings}
        shown = _shown(settings.get("default"))
        text = f"{text} (default: {shown})" if shown else text
        action = self.add_argument(*flags, **settings, help=text.replace("%", "%%"))
        self.suggestions[action.dest] = suggest or settings.get("choices", ())

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """What the words say; with the recipe's options, where a verb takes them, as ``overrides``.

        Raises:
            ScantlingError: a word, option or value that cannot be used.
        """
        own, overrides = self._parted(words)
        self._refuse_unknown(own)
        arguments, extra = self.parse_known_args(own)
        if extra:
            self.error(f"unexpected '{extra[0]}'")
        if self.keys is not None:
            arguments.overrides = overrides
        return arguments

    def options(self) -> list[str]:
        """All options in their long and short form."""
        return [flag for action in self._actions for flag in action.option_strings]

    def error(self, message: str) -> NoReturn:
        """Turn argparse's message into an error of one line."""
        match = re.fullmatch(r"argument ([^:]+): (.*)", message, re.DOTALL)
        where, what = (match[1], match[2]) if match else (None, message)
        for phrase, ours in _PHRASES.items():
            what = re.sub(f"^{phrase}$", ours, what)
        raise ScantlingError(what, where=where, do=f"see `{self.prog} --help`")

    def _parted(self, words: Sequence[str]) -> tuple[list[str], list[str]]:
        """The verb's own words, and the recipe's options with their values."""
        if self.keys is None:
            return list(words), []
        own, overrides, rest = list[str](), list[str](), list(words)
        while rest:
            word = rest.pop(0)
            name = word.partition("=")[0]
            short = {"--monitor", "--task", *self.short}
            if not word.startswith("--") or not ("." in name or name in short):
                own.append(word)
            elif "=" in word:
                overrides.append(word)
            elif not rest or rest[0].startswith("--"):
                raise ScantlingError("needs a value", where=word, do=f"write {word} VALUE")
            else:
                overrides += [word, rest.pop(0)]
        return own, overrides

    def _refuse_unknown(self, words: Sequence[str]) -> None:
        known = self.options()
        for word in words:
            if word == "--":
                return
            name = word.partition("=")[0]
            if not re.match(r"-[^\d.]", name) or name in known or (name[:2] in known and name[1] != "-"):
                continue
            names = [*known, *self.short, *(self.keys() if self.keys else ())]
            self.error(f"unknown option '{name}'{_nearest_option(name, names)}")


def wants_help(words: Sequence[str]) -> bool:
    """Whether ``-h`` or ``--help`` is among the words."""
    return bool({"-h", "--help"}.intersection(words[: words.index("--")] if "--" in words else words))


def words_after(words: Sequence[str], flag: str) -> str | None:
    """The value of an option before the words are parsed.

    >>> words_after(["a", "--layout", "csv"], "--layout"), words_after(["--layout=csv"], "--layout")
    ('csv', 'csv')
    """
    for i, word in enumerate(words):
        if word == flag and i + 1 < len(words):
            return words[i + 1]
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """A type that takes only these words and names the nearest."""

    def check(word: str) -> str:
        if word not in choices:
            near = nearest(word, choices)
            raise argparse.ArgumentTypeError(f"'{word}' is none of {', '.join(choices)}{near}")
        return word

    return check


def whole_number(word: str) -> int:
    """A type for integers."""
    try:
        return int(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{word}' is not a whole number") from None


def number(word: str) -> float:
    """A type for numbers."""
    try:
        return float(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{word}' is not a number") from None


def _from_signature(doc: Argument, optional: bool) -> dict[str, Any]:
    """Settings of :meth:`argparse.ArgumentParser.add_argument` that follow from an argument's type and default."""
    if doc.kind == "bool":
        action = argparse.BooleanOptionalAction if doc.default is True else "store_true"
        return {"action": action, "default": doc.default}
    settings: dict[str, Any] = {}
    if optional:
        settings["default"] = None if doc.default is REQUIRED else doc.default
        settings["required"] = doc.default is REQUIRED
    kinds = [kind.strip() for kind in doc.kind.split("|")]
    literal = re.fullmatch(r"Literal\[(.*)\]", doc.kind)
    if literal:
        words = ast.literal_eval(f"[{literal[1]}]")
        settings |= {"choices": words, "type": one_of(words), "metavar": "|".join(words)}
    elif "int" in kinds and "str" not in kinds:
        settings |= {"type": whole_number, "metavar": "N"}
    elif "float" in kinds and "str" not in kinds:
        settings |= {"type": number, "metavar": "X"}
    elif optional:
        settings["metavar"] = "TEXT"
    return settings


def _shown(default: Any) -> str:
    if default is None or isinstance(default, bool) or default == "":
        return ""
    return " ".join(map(str, default)) if isinstance(default, (list, tuple)) else str(default)


def _nearest_option(word: str, names: Sequence[str]) -> str:
    """Like :func:`nearest`; an option's last part alone is understood: ``--max_epochs``, ``--batch-size``.

    >>> _nearest_option("--max-epochs", ["--out", "--trainer.max_epochs"])
    " (did you mean '--trainer.max_epochs'?)"
    """
    by_last = {re.split(r"\.|^--?", name)[-1].replace("-", "_"): name for name in reversed(names)}
    last = word.lstrip("-").replace("-", "_")
    close = difflib.get_close_matches(last, by_last, n=1, cutoff=0.6)
    return f" (did you mean '{by_last[close[0]]}'?)" if close else ""
