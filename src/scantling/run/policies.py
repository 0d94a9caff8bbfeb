"""Policies that a recipe names in one word: a baseline, or the place of a searched one."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from scantling.core.build import import_object
from scantling.core.errors import RecipeError, nearest
from scantling.core.seams import Policy

if TYPE_CHECKING:
    from scantling.augment.policy.spec import PolicySpec

SEARCHED = "scantling.augment.policy.SearchedPolicy"

NAMED: Mapping[str, str] = MappingProxyType(
    {
        "fixed": "scantling.augment.FixedPolicy",
        "random": "scantling.augment.policy.RandomPolicy",
        "randaugment": "scantling.augment.policy.RandAugment",
        "trivialaugment": "scantling.augment.policy.TrivialAugment",
        "bigaug": "scantling.augment.policy.BigAug",
    }
)
"""Classes of policies that have a short name."""


def takes_policy(hint: Any) -> bool:
    """Whether a setting of this type is a policy."""
    return Policy in (hint, *typing.get_args(hint))


def written_out(value: Any, references: str = "stage:") -> Any:
    """A policy's class and settings for a short name or a path; other content stays as it is.

    The content of a ``policy.json`` is copied, so that what is written down does not depend on the file any more.

    Args:
        value: ``randaugment``, ``runs/policy``, a ``policy.json``, or what a recipe holds.
        references: how words begin that name an earlier stage, whose policy is read when it is there.

    Raises:
        RecipeError: neither a name nor a policy.
    """
    if isinstance(value, Mapping) and value.get("class_path") == SEARCHED:
        settings = dict(value.get("init_args") or {})
        place = settings.get("policy")
        if isinstance(place, str) and not place.startswith(references):
            settings["policy"] = _content(place)
        return {**value, "init_args": settings}
    if not isinstance(value, str) or re.fullmatch(r"[a-z_]\w*(\.\w+)*\.[A-Z]\w*", value):
        return value
    if value == "none":
        return None
    if value in NAMED:
        return {"class_path": NAMED[value], "init_args": {}}
    return {"class_path": SEARCHED, "init_args": {"policy": value if value.startswith(references) else _content(value)}}


def policy_of(word: str) -> Policy:
    """The policy of a short name, or of a folder or ``policy.json``.

    Raises:
        RecipeError: neither.
    """
    from scantling.augment.policy.searched import SearchedPolicy

    if word in NAMED:
        found: Policy = import_object(NAMED[word], Policy)()
        return found
    return SearchedPolicy(_read(word))


def _content(place: str) -> dict[str, Any]:
    """What training needs of a policy: not the tables of its search."""
    found = _read(place).to_json()
    return {key: found[key] for key in ("subpolicies", "weights") if key in found}


def _read(place: str) -> PolicySpec:
    from scantling.augment.policy.spec import PolicySpec

    if not Path(place).exists():
        raise RecipeError(
            f"no policy '{place}'{nearest(place, NAMED)}",
            where="policy",
            do=f"use {', '.join(NAMED)}, or the folder or policy.json of a search",
        )
    return PolicySpec.read(place)
