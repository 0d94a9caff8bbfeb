"""The plan of a bench: a YAML file that names data sets, variants of a recipe, seeds, and the findings to look for.

Keys: ``name``, ``summary``, ``paper``, ``recipe``, ``seeds``, ``metrics`` (the first decides the findings),
``settings`` (overrides of the recipe in every run), ``data``, ``pretrain``, ``variants``, ``findings``, ``remarks``.

A run is a data set, a variant and a seed. Its settings are those of the bench, then of the data set, then of the
variant. In a recipe of several stages, ``task.*`` settings of the bench and of the data set go to the first stage. The
value ``pretrain:<name>`` stands for the bundle of that pretraining, ``data:<file>`` for a file beside the manifest of
the data set, such as the donor of phantoms for anomaly detection, ``open:<file>`` for one in the folder of open data,
and ``plan:<file>`` for one beside the plan.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from scantling.core.errors import RecipeError, nearest
from scantling.metrics.groups import RECALLS
from scantling.metrics.table import METRICS
from scantling.run.recipe import read

BASE = "base"
PRETRAINED = "pretrain:"
BESIDE, OPEN, PLAN = "data:", "open:", "plan:"
DATA = "SCANTLING_DATA"


@dataclass(frozen=True)
class DataSet:
    """Where images come from.

    Args:
        title: how tables call it.
        make: either ``layout`` with ``source`` (below the folder of open data), the layout's options,
            ``part`` (``{take: 0, of: 2}``: only the patients of the first of two parts) and, where the set has no test
            images of its own, ``divide`` with the options of :func:`scantling.data.split.split`; or ``phantoms``, one
            of :data:`scantling.data.phantoms.WRITERS` (``fundus``, ``skin``, ``anomaly``), with the options of that
            function and, for masks, ``mask`` and ``target``: the column of the masks, and what they show.
        settings: overrides of the recipe on this data set.
        variants: further overrides on this data set for single variants or groups of variants, by name; they come last.
        seeds: left out, the bench's.
        note: for the reader of the tables.
    """

    title: str
    make: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Pretraining:
    """A training whose bundle other runs begin with.

    Args:
        data: data set.
        recipe: left out, the bench's.
        settings: overrides, after those of the bench and of the data set.
    """

    data: str
    recipe: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """One way to train.

    Args:
        group: heading under which tables show it.
        label: how tables call it; left out, its name.
        settings: overrides, after those of the data set.
        data: data sets on which it runs; left out, all that are not only for pretraining.
        recipe: left out, the bench's.
        drop: columns that the manifest loses for this variant.
    """

    group: str = BASE
    label: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    data: tuple[str, ...] = ()
    recipe: str | None = None
    drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Two variants on one data set, of which the first is expected to be better."""

    data: str
    better: str
    worse: str


@dataclass(frozen=True)
class Finding:
    """A published finding and the comparisons that would show it.

    Args:
        claim: in words.
        comparisons: the evidence.
        either: a difference in any comparison and any direction counts, not the mean over the comparisons.
    """

    claim: str
    comparisons: tuple[Comparison, ...]
    either: bool = False


@dataclass(frozen=True)
class Run:
    """One training with its measurement.

    Args:
        data: data set.
        variant: name.
        seed: of weights, order, augmentation, and of the validation split where the data set has none.
        recipe: name.
        settings: overrides, references to pretrainings not yet replaced.
        drop: columns that the manifest loses.
        key: hash of everything that decides the outcome, save the code.
    """

    data: str
    variant: str
    seed: int
    recipe: str
    settings: dict[str, Any]
    drop: tuple[str, ...]
    key: str

    @property
    def pretrainings(self) -> list[str]:
        """Those that it begins with."""
        return [v.removeprefix(PRETRAINED) for v in self.settings.values() if _refers(v)]


@dataclass(frozen=True)
class Plan:
    """A checked plan; see the module for its keys."""

    name: str
    recipe: str
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    data: dict[str, DataSet]
    variants: dict[str, Variant]
    pretrain: dict[str, Pretraining] = field(default_factory=dict)
    findings: dict[str, Finding] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    summary: str = ""
    paper: str = ""
    remarks: tuple[str, ...] = ()

    def runs(self) -> Iterator[Run]:
        """All runs, seed by seed, so that an early stop leaves whole comparisons."""
        for seed in self.all_seeds:
            for data in self.measured:
                if seed in (self.data[data].seeds or self.seeds):
                    for name, variant in self.variants.items():
                        if not variant.data or data in variant.data:
                            yield self._run(data, name, variant, seed)

    def pretraining(self, name: str) -> Run:
        """The run that makes a pretrained bundle, with seed 0."""
        pretraining = self.pretrain[name]
        variant = Variant(settings=pretraining.settings, recipe=pretraining.recipe)
        return self._run(pretraining.data, f"{PRETRAINED}{name}", variant, 0)

    @property
    def all_seeds(self) -> list[int]:
        """Of the bench and of every data set."""
        return sorted({*self.seeds, *(s for d in self.data.values() for s in d.seeds)})

    @property
    def measured(self) -> list[str]:
        """Data sets on which variants run: those that do not only serve a pretraining."""
        named = {d for v in self.variants.values() for d in v.data}
        only = {p.data for p in self.pretrain.values()} - named
        return [d for d in self.data if d not in only]

    def _run(self, data: str, name: str, variant: Variant, seed: int) -> Run:
        recipe = variant.recipe or self.recipe
        content = read(recipe)[1]
        first = next(iter(content.get("stages") or {}), None)
        common = {**self.settings, **self.data[data].settings}
        special = {k: v for n in (variant.group, name) for k, v in self.data[data].variants.get(n, {}).items()}
        settings = {_key(k, first): v for k, v in common.items()} | variant.settings | special
        settings["trainer.seed"] = seed
        earlier = [self.pretraining(v.removeprefix(PRETRAINED)).key for v in settings.values() if _refers(v)]
        decisive = [content, settings, self.data[data].make, variant.drop, earlier, seed]
        return Run(data, name, seed, recipe, settings, variant.drop, digest(decisive))


def open_data() -> Path:
    """The folder of open data."""
    return Path(os.environ.get(DATA) or Path("..") / "shared" / "data").resolve()


def read_plan(path: str | Path) -> Plan:
    """Read and check a plan.

    Raises:
        RecipeError: no such file, no valid YAML, an unknown key, or a name that nothing bears.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError("cannot be read", where=path, do="give the YAML file of a bench") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"is not valid YAML ({str(error).splitlines()[0]})", where=path, do="correct it") from error
    plan = _of(Plan, content, str(path))
    for name, kind in (("data", DataSet), ("pretrain", Pretraining), ("variants", Variant)):
        object.__setattr__(plan, name, {k: _of(kind, v, f"{path}: {name}.{k}") for k, v in getattr(plan, name).items()})
    object.__setattr__(plan, "findings", {k: _finding(v, f"{path}: findings.{k}") for k, v in plan.findings.items()})
    _check_names(plan, str(path))
    return plan


def _of(kind: Any, content: Any, where: str) -> Any:
    """An instance of a dataclass from plain content; lists become tuples."""
    if content is None:
        content = {}
    if not isinstance(content, Mapping):
        raise RecipeError("must be a mapping", where=where)
    names = [f.name for f in fields(kind)]
    for key in content:
        if key not in names:
            raise RecipeError(
                f"unknown key '{key}'{nearest(str(key), names)}", where=where, do=f"use {', '.join(names)}"
            )
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in content.items()})
    except TypeError as error:
        raise RecipeError(str(error).split("() ")[-1], where=where, do=f"use {', '.join(names)}") from error


def _finding(content: Any, where: str) -> Finding:
    finding: Finding = _of(Finding, content, where)
    comparisons = tuple(_of(Comparison, c, f"{where}.comparisons") for c in finding.comparisons)
    return Finding(finding.claim, comparisons, finding.either)


def _check_names(plan: Plan, where: str) -> None:
    """Every name that is referred to must be there."""
    overrides = [
        plan.settings,
        *(d.settings for d in plan.data.values()),
        *(v.settings for v in plan.variants.values()),
    ]
    values = [v for settings in overrides for v in settings.values()]
    compared = [c for f in plan.findings.values() for c in f.comparisons]
    groups = {**plan.variants, **{v.group: v for v in plan.variants.values()}}
    wanted: list[tuple[str, Mapping[str, Any], list[str]]] = [
        ("variant", plan.variants, [BASE, *(c.better for c in compared), *(c.worse for c in compared)]),
        ("data set", plan.data, [d for v in plan.variants.values() for d in v.data]),
        ("variant", groups, [n for d in plan.data.values() for n in d.variants]),
        ("data set", plan.data, [p.data for p in plan.pretrain.values()] + [c.data for c in compared]),
        ("pretraining", plan.pretrain, [v.removeprefix(PRETRAINED) for v in values if _refers(v)]),
        ("metric", {**METRICS, **dict.fromkeys(RECALLS)}, list(plan.metrics)),
    ]
    for what, known, names in wanted:
        for name in names:
            if name not in known:
                raise RecipeError(
                    f"no {what} '{name}'{nearest(name, known)}", where=where, do=f"use {', '.join(known)}"
                )
    if not plan.seeds or not plan.metrics:
        raise RecipeError("needs at least one seed and one metric", where=where)


def _refers(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(PRETRAINED)


def _key(key: str, first: str | None) -> str:
    return key if first is None or not key.startswith("task.") else f"stages.{first}.{key}"


def digest(content: Any) -> str:
    """Sixteen hexadecimal digits that change with ``content``, which JSON can write."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
