"""Settings that are one of a few words."""

from __future__ import annotations

from typing import Any, get_args

from scantling.core.errors import RecipeError, nearest


def check_word(key: str, word: object, kind: Any) -> None:
    """Raise a RecipeError for a word that the literal type ``kind`` does not have.

    >>> from typing import Literal
    >>> check_word("residual", "befor", Literal["before", "after"])
    Traceback (most recent call last):
    ...
    scantling.core.errors.RecipeError: residual: unknown word 'befor' (did you mean 'before'?); use before, after
    """
    known = get_args(kind)
    if word not in known:
        raise RecipeError(f"unknown word '{word}'{nearest(str(word), known)}", where=key, do=f"use {', '.join(known)}")
