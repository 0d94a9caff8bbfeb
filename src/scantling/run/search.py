"""Several searches at once: independent trials with seeds of their own, over processes or a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from scantling.augment.policy.spec import FILE
from scantling.core.bundle import find_bundle, is_bundle, read_meta
from scantling.core.errors import MissingExtraError, RecipeError, TrainingError
from scantling.core.files import write_json, write_text

Job = TypeVar("Job")
Result = TypeVar("Result")
Where = Literal["processes", "ray"]
TRIALS = "trials.json"


@dataclass(frozen=True)
class Trial:
    """One finished training of several.

    Args:
        seed: of the run.
        folder: of the run.
        score: its best validation figure, by which trials are compared.
    """

    seed: int
    folder: Path
    score: float


def search(
    recipe: str | Path,
    data: str | Path,
    out: str | Path,
    seeds: Sequence[int] = (0, 1, 2),
    workers: int = 1,
    where: Where = "processes",
    overrides: Mapping[str, Any] | None = None,
) -> list[Trial]:
    """Train a recipe once for every seed and compare on the validation images; the test split is not touched.

    Trials that are finished are kept, and one that was stopped goes on. The best trial's policy is copied to
    ``out/policy.json``, so that ``--data.policy out`` takes it, and ``out/trials.json`` lists all of them.

    Args:
        recipe: name of a recipe, such as ``aadg``, or a YAML file.
        data: manifest.
        out: folder of all trials.
        seeds: one trial each.
        workers: trials at once.
        where: ``processes`` of this machine, or ``ray``: the cluster that Ray finds, or starts here.
        overrides: settings of all trials, ``{"task.domain": "site"}``.

    Returns:
        The trials, the best one first.

    Raises:
        RecipeError: no seed, or one that comes twice.
        TrainingError: a trial left no validation figure.
        MissingExtraError: Ray is asked for and not there.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise RecipeError(f"seeds {list(seeds)}", where="search", do="give different seeds, one or more")
    folder = Path(out)
    # Trials may run in processes that stand in other folders.
    file = Path(recipe)
    given = str(file.resolve()) if file.is_file() else str(recipe)
    job = partial(_trial, given, str(Path(data).resolve()), str(folder.resolve()), dict(overrides or {}))
    trials = sorted(spread(job, list(seeds), workers, where), key=lambda trial: -trial.score)
    best = find_bundle(trials[0].folder) / FILE
    if best.is_file():
        write_text(folder / FILE, best.read_text(encoding="utf-8"))
    listed = [{"seed": t.seed, "folder": t.folder.name, "score": t.score} for t in trials]
    write_json(folder / TRIALS, listed)
    return trials


def spread(
    function: Callable[[Job], Result], jobs: Sequence[Job], workers: int = 1, where: Where = "processes"
) -> list[Result]:
    """``function(job)`` of every job, in their order; one worker computes them here, one after the other.

    Args:
        function: one that other processes can import.
        jobs: its arguments.
        workers: jobs at once.
        where: ``processes`` of this machine, or ``ray``.

    Raises:
        RecipeError: an unknown place, or less than one worker.
        MissingExtraError: Ray is asked for and not there.

    >>> spread(abs, [-1, 2])
    [1, 2]
    """
    if where not in {"processes", "ray"} or workers < 1:
        raise RecipeError(f"{workers} workers on {where}", where="search", do="use 1 or more, on processes or ray")
    if where == "ray":
        return list(_over_ray(function, jobs, workers))
    if workers == 1:
        return [function(job) for job in jobs]
    # Children are begun anew: a copy of a process that has used torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_one_thread) as pool:
        return list(pool.map(function, jobs))


def _over_ray(function: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("ray", "cluster") from error
    if not ray.is_initialized():
        ray.init(ignore_reinit_error=True, log_to_driver=False)

    # Ray takes plain functions alone, and the given one may be a partial.
    def work(job: Job) -> Result:
        return function(job)

    remote = ray.remote(work)
    waiting: list[Any] = []
    for job in jobs:
        if len(waiting) >= workers:
            ray.wait(waiting, num_returns=len(waiting) - workers + 1)
        waiting.append(remote.remote(job))
    yield from ray.get(waiting)


def _one_thread() -> None:
    """Workers share the cores: one thread each."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)


def _trial(recipe: str, data: str, out: str, overrides: dict[str, Any], seed: int) -> Trial:
    from scantling.run.train import train

    folder = Path(out) / f"seed_{seed}"
    if not any(is_bundle(path) for path in folder.glob("*/bundle")):
        begun = any(folder.glob("*/checkpoints/*"))
        train(recipe, data, folder, begun, {**overrides, "trainer.seed": seed}, progress=False)
    values = read_meta(find_bundle(folder))["metrics"]["values"]
    score = next((figure["value"] for figure in values.values()), None)
    if score is None:
        raise TrainingError("no validation figure", where=folder, do="give the data a validation split")
    return Trial(seed, folder, float(score))
