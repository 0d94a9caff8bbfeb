"""Trials over seeds: which is the best, what is kept, and where they may run."""

from __future__ import annotations

import builtins
import inspect
import json
import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from scantling.core.errors import MissingExtraError, RecipeError
from scantling.run import search as module
from scantling.run.search import Trial, search, spread


def finished(recipe: str, data: str, out: str, overrides: dict, seed: int) -> Trial:
    """A trial whose score is known beforehand, with a bundle that has a policy."""
    bundle = Path(out) / f"seed_{seed}" / "train" / "bundle"
    bundle.mkdir(parents=True, exist_ok=True)
    (bundle / "bundle.json").write_text("{}")
    (bundle / "policy.json").write_text(f"policy of {seed}")
    return Trial(seed, Path(out) / f"seed_{seed}", {0: 0.4, 1: 0.9, 2: 0.6}[seed])


def test_the_best_trial_on_validation_images_gives_the_policy(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_trial", finished)
    trials = search("aadg", "m.csv", tmp_path)
    assert [t.seed for t in trials] == [1, 2, 0]
    assert (tmp_path / "policy.json").read_text() == "policy of 1"
    assert [t["seed"] for t in json.loads((tmp_path / "trials.json").read_text())] == [1, 2, 0]


def test_processes_give_what_one_process_gives():
    assert spread(abs, [-3, 2, -1], workers=2) == spread(abs, [-3, 2, -1]) == [3, 2, 1]


def test_without_ray_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "ray":
            raise ImportError
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"scantling\[cluster\]"):
        spread(abs, [1], where="ray")


class FewFunctions(ModuleType):
    """Stands in for Ray: takes plain functions alone, as Ray does, and counts what runs at once."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.open: list[Any] = []
        self.most = 0

    def is_initialized(self) -> bool:
        return True

    def remote(self, function: Any) -> Any:
        if not inspect.isfunction(function):
            raise TypeError("The @ray.remote decorator must be applied to either a function or a class.")

        def begin(job: Any) -> Any:
            self.open.append(job)
            self.most = max(self.most, len(self.open))
            return lambda: function(job)

        return SimpleNamespace(remote=begin)

    def wait(self, waiting: list[Any], num_returns: int) -> None:
        self.open = self.open[-(len(waiting) - num_returns) :] if num_returns < len(waiting) else []

    def get(self, waiting: list[Any]) -> list[Any]:
        return [one() for one in waiting]


def test_ray_gives_what_one_process_gives_and_runs_so_many_at_once(monkeypatch):
    stand_in = FewFunctions()
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    assert spread(partial(pow, 2), [1, 2, 3, 4, 5], workers=2, where="ray") == [2, 4, 8, 16, 32]
    assert stand_in.most == 2


@pytest.mark.parametrize(("seeds", "workers"), [((), 1), ((1, 1), 1), ((0,), 0)])
def test_impossible_searches_are_refused(tmp_path, monkeypatch, seeds, workers):
    monkeypatch.setattr(module, "_trial", finished)
    with pytest.raises(RecipeError):
        search("aadg", "m.csv", tmp_path, seeds, workers)
