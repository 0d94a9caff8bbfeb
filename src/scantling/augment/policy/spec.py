"""A policy as plain data: sub-policies of operations with magnitudes, in a small JSON file that one can read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scantling.augment.operations import MAGNITUDES, OPERATIONS, known_operation
from scantling.core.errors import RecipeError, nearest
from scantling.core.files import write_text

FILE = "policy.json"
FORMAT = 1
TABLES = ("operations", "magnitudes")
KEYS = ("format", "operations", "subpolicies", "weights", "probabilities")

SubPolicy = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class PolicySpec:
    """A mixture of sub-policies, each a chain of operations with a magnitude; one sub-policy is chosen for each image.

    Args:
        subpolicies: each a chain of (operation, magnitude), such as ``(("sharpness", 6), ("auto_contrast", 0))``;
            magnitudes are from 0 to 9 and mean what :mod:`scantling.augment.operations` says.
        weights: how often each sub-policy is chosen, above or equal to 0; left out, all alike.
        operations: names of the space that the policy was searched in, in the order of the table of probabilities.
        probabilities: how the search ended up here, for plots: ``operations``, a row of probabilities an epoch with one
            column an operation, and ``magnitudes``, likewise with ten columns.

    Raises:
        RecipeError: an unknown operation, a magnitude out of range, or weights and tables that do not fit.

    >>> PolicySpec(((("brightness", 7), ("cutout", 3)),)).names()
    ['brightness 7, cutout 3']
    """

    subpolicies: tuple[tuple[tuple[str, int], ...], ...]
    weights: tuple[float, ...] | None = None
    operations: tuple[str, ...] = OPERATIONS
    probabilities: Mapping[str, Sequence[Sequence[float]]] | None = None

    def __post_init__(self) -> None:
        chains = tuple(tuple(_step(step, f"subpolicies[{i}]") for step in c) for i, c in enumerate(self.subpolicies))
        object.__setattr__(self, "subpolicies", chains)
        object.__setattr__(self, "operations", tuple(known_operation(n, "operations") for n in self.operations))
        if self.weights is not None:
            object.__setattr__(self, "weights", tuple(float(w) for w in self.weights))
        self._check_mixture()
        if self.probabilities is not None:
            self._check_tables(self.probabilities)

    @property
    def chances(self) -> tuple[float, ...]:
        """Probability of each sub-policy; they sum to 1."""
        weights = self.weights or (1.0,) * len(self.subpolicies)
        return tuple(w / sum(weights) for w in weights)

    def names(self) -> list[str]:
        """A short name for each sub-policy."""
        return [", ".join(f"{name} {magnitude}" for name, magnitude in chain) for chain in self.subpolicies]

    def to_json(self) -> dict[str, Any]:
        """Plain content for a JSON file; what was left out is left out."""
        content: dict[str, Any] = {
            "format": FORMAT,
            "operations": list(self.operations),
            "subpolicies": [[list(step) for step in chain] for chain in self.subpolicies],
        }
        if self.weights is not None:
            content["weights"] = list(self.weights)
        if self.probabilities is not None:
            content["probabilities"] = {k: [list(r) for r in rows] for k, rows in self.probabilities.items()}
        return content

    @classmethod
    def from_json(cls, content: Any, where: object = None) -> PolicySpec:
        """The policy of plain content.

        Args:
            content: as :meth:`to_json` gives it.
            where: the file, for errors.

        Raises:
            RecipeError: content that is no policy, with the file and the key.
        """
        if not isinstance(content, Mapping) or "subpolicies" not in content:
            raise RecipeError("is no policy: it has no 'subpolicies'", where=where, do="give a policy.json")
        for key in content:
            if key not in KEYS:
                raise RecipeError(f"unknown key '{key}'{nearest(str(key), KEYS)}", where=where, do=f"use {KEYS}")
        if content.get("format", FORMAT) != FORMAT:
            raise RecipeError(
                f"has format {content['format']}, this version reads {FORMAT}", where=where, do="update scantling"
            )
        settings = {k: v for k, v in content.items() if k != "format"}
        try:
            return cls(**settings)
        except RecipeError as error:
            inner = where if error.where is None else f"{where}: {error.where}"
            raise RecipeError(error.what, where=inner if where else error.where, do=error.do) from error
        except (TypeError, ValueError) as error:
            raise RecipeError(f"is no policy ({error})", where=where, do="see docs/policies.md") from error

    @classmethod
    def read(cls, path: str | Path) -> PolicySpec:
        """The policy of a JSON file, or of a bundle or run folder that holds a ``policy.json``.

        Raises:
            RecipeError: nothing there, or no policy.
        """
        file = find_policy(path)
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise RecipeError(f"is not valid JSON ({error})", where=file, do="search or write it again") from error
        return cls.from_json(content, file)

    def to_text(self) -> str:
        """The policy as JSON that one can read: a line for every sub-policy and every row of a table."""
        return _readable(self.to_json()) + "\n"

    def write(self, path: str | Path) -> Path:
        """Write the policy as JSON, whole or not at all; into a folder as ``policy.json``."""
        file = Path(path)
        file = file / FILE if file.is_dir() else file
        write_text(file, self.to_text())
        return file

    def _check_mixture(self) -> None:
        if not self.subpolicies or not all(self.subpolicies):
            raise RecipeError("no sub-policy, or an empty one", where="subpolicies", do="give each one an operation")
        weights = self.weights
        if weights is None:
            return
        if len(weights) != len(self.subpolicies):
            raise RecipeError(f"{len(weights)} weights for {len(self.subpolicies)} sub-policies", where="weights")
        if not all(math.isfinite(w) and w >= 0 for w in weights) or not sum(weights) > 0:
            raise RecipeError(f"{list(weights)} are no weights", where="weights", do="use numbers from 0, not all 0")

    def _check_tables(self, tables: Mapping[str, Any]) -> None:
        widths = {"operations": len(self.operations), "magnitudes": MAGNITUDES}
        for key, rows in tables.items():
            where = f"probabilities.{key}"
            if key not in widths:
                raise RecipeError(f"unknown table{nearest(key, TABLES)}", where=where, do=f"use {' and '.join(TABLES)}")
            if not rows or any(len(row) != widths[key] for row in rows):
                raise RecipeError(f"every row must have {widths[key]} numbers", where=where, do="one row an epoch")
            if any(not 0 <= p <= 1 for row in rows for p in row):
                raise RecipeError("a number is no probability", where=where, do="use numbers from 0 to 1")


def find_policy(path: str | Path) -> Path:
    """The JSON file itself, or that of a bundle, of a stage or of the latest stage of a run folder that has one.

    Raises:
        RecipeError: there is none.
    """
    place = Path(path)
    if place.is_file():
        return place
    found = [place / FILE, place / "bundle" / FILE]
    found += sorted(place.glob(f"*/bundle/{FILE}"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
    for file in found:
        if file.is_file():
            return file
    what = f"no {FILE} here" if place.is_dir() else "no such file or folder"
    raise RecipeError(what, where=place, do="give a policy.json, or the run folder or bundle of a search")


def _step(step: Any, where: str) -> tuple[str, int]:
    if not isinstance(step, Sequence) or isinstance(step, str) or len(step) != 2:
        raise RecipeError(f"{step!r} is no step", where=where, do='write ["brightness", 7]')
    name, magnitude = step
    if isinstance(magnitude, bool) or not isinstance(magnitude, int) or not 0 <= magnitude < MAGNITUDES:
        raise RecipeError(
            f"{magnitude!r} is no magnitude", where=where, do=f"use a whole number from 0 to {MAGNITUDES - 1}"
        )
    return known_operation(name, where), magnitude


def _readable(content: Any, indent: str = "") -> str:
    """JSON with every key, every sub-policy and every row of a table on a line of its own."""
    inner = indent + "  "
    if isinstance(content, Mapping):
        lines, ends = [f"{json.dumps(k)}: {_readable(v, inner)}" for k, v in content.items()], "{}"
    elif isinstance(content, list) and content and isinstance(content[0], list):
        lines, ends = [json.dumps(item) for item in content], "[]"
    else:
        return json.dumps(content)
    return ends[0] + ",".join(f"\n{inner}{line}" for line in lines) + f"\n{indent}{ends[1]}"
