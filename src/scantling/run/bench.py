"""The verb ``bench``: many trainings with several seeds, and what they say about a paper's findings."""

from __future__ import annotations

import datetime
import json
import multiprocessing
import os
import platform
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from scantling.core.errors import DataError, RecipeError, ScantlingError, TrainingError, nearest
from scantling.core.files import write_json
from scantling.data.manifest import Manifest
from scantling.run.bench_findings import RULE, Difference, Outcome, difference, judge
from scantling.run.bench_job import Job, begin, carry_out
from scantling.run.bench_plan import BASE, DATA, PRETRAINED, DataSet, Plan, Run, open_data, read_plan
from scantling.run.bundle import versions

WORK = Path("build") / "bench"
TEST_ONCE = (
    "Weights are chosen on the validation split (best epoch); each run is measured on the test split once, "
    "after training. Where a data set joined the plan after results of others were seen, the remarks say so."
)

Carry = Callable[[Job, Mapping[str, str]], dict[str, Any]]


def run_bench(
    path: str | Path,
    results: str | Path | None = None,
    only: str | Sequence[str] | None = None,
    workers: int = 2,
    progress: bool = True,
    seeds: Sequence[int] | None = None,
    work: str | Path | None = None,
    carry: Carry = carry_out,
) -> Path:
    """Carry out a bench; what an earlier call has finished is not done again.

    Args:
        path: the plan, see :mod:`scantling.run.bench_plan`.
        results: folder for ``<name>.json``; left out, ``results`` beside the plan.
        only: names of data sets, variants or groups of variants, to run only these (and the base); all outcomes that
            are there go into the results.
        workers: processes, one thread each.
        progress: print a line a run.
        seeds: of the plan's seeds only these.
        work: folder for runs, bundles and stores; left out, ``build/bench/<name>``.
        carry: does one job; must be importable, for it is called in other processes.

    Returns:
        The file of results.

    Raises:
        RecipeError: a plan that cannot be carried out.
        DataError: data sets that are not there.
        TrainingError: runs that broke off; the others' results are written before.
    """
    plan = read_plan(path)
    folder = Path(work) if work is not None else WORK / plan.name
    chosen = [r for r in _chosen(plan, [only] if isinstance(only, str) else only) if seeds is None or r.seed in seeds]
    manifests = {key: _manifest(plan, *key, folder) for key in dict.fromkeys((r.data, r.drop) for r in _all(plan))}
    started, spent = time.perf_counter(), []

    home = Path(path).parent.resolve()
    jobs = [Job(r, manifests[r.data, r.drop], folder, plan.metrics, home) for r in chosen]
    needed = dict.fromkeys(n for j in jobs for n in j.run.pretrainings)
    first = [Job(r, manifests[r.data, r.drop], folder, home=home) for r in map(plan.pretraining, needed)]
    errors: list[str] = []
    bundles: dict[str, str] = {}
    waiting = [j for j in first + jobs if j.outcome() is None]
    for job in first:
        bundles |= _bundle_of(job, job.outcome())
    if waiting:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(waiting)), mp_context=context, initializer=begin) as pool:
            for job, outcome in _carried(pool, workers, waiting, bundles, carry):
                spent.append(job)
                if "error" in outcome:
                    errors.append(f"{job.run.data}, {job.run.variant}, seed {job.run.seed}: {outcome['error']}")
                if progress:
                    print(_line(job, outcome, len(spent), len(waiting), time.perf_counter() - started), flush=True)
    everything = [Job(r, manifests[r.data, r.drop], folder, plan.metrics) for r in plan.runs()]
    file = (Path(results) if results is not None else Path(path).parent / "results") / f"{plan.name}.json"
    write_json(file, summarise(plan, everything, machine(workers)))
    if errors:
        raise TrainingError(f"{len(errors)} runs broke off", where=errors[0], do="correct the plan and run it again")
    return file


def summarise(plan: Plan, jobs: Sequence[Job], made_on: Mapping[str, Any]) -> dict[str, Any]:
    """The results of all jobs that have an outcome, and the verdict on every finding."""
    records = {(j.run.data, j.run.variant, j.run.seed): o for j in jobs if (o := j.outcome()) is not None}
    pairs = list(dict.fromkeys((j.run.data, j.run.variant) for j in jobs))
    found = {p: [records[(*p, s)] for s in plan.all_seeds if (*p, s) in records] for p in pairs}
    found = {p: rs for p, rs in found.items() if rs}
    return {
        "name": plan.name,
        "summary": plan.summary,
        "paper": plan.paper,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": dict(made_on),
        "versions": versions(),
        "recipe": plan.recipe,
        "settings": plan.settings,
        "pretrain": {n: asdict(p) for n, p in plan.pretrain.items()},
        "seeds": plan.all_seeds,
        "test": TEST_ONCE,
        "rule": RULE,
        "data": {
            d: {**asdict(plan.data[d]), **found[d, BASE][0]["splits"]} for d in plan.measured if (d, BASE) in found
        },
        "results": [_result(plan, *pair, rs) for pair, rs in found.items()],
        "findings": {n: _judged(plan, n, records) for n in plan.findings},
        "remarks": list(plan.remarks),
    }


def _result(plan: Plan, data: str, name: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    variant = plan.variants[name]
    return {
        "data": data,
        "variant": name,
        "label": variant.label or name,
        "group": variant.group,
        "settings": variant.settings,
        "recipe": variant.recipe or plan.recipe,
        "seeds": [r["seed"] for r in records],
        "test": {m: _spread([r["test"][m] for r in records]) for m in plan.metrics},
        "validation": {m: _spread([r["validation"][m] for r in records]) for m in plan.metrics},
        "seconds": _spread([r["seconds"]["train"] for r in records]),
        "step_seconds": _spread([r["seconds"].get("step") for r in records]),
        "parameters": records[0]["parameters"],
        "peak_bytes": records[0].get("peak_bytes"),
    }


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    known = [float(v) for v in values if v is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "sd": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "values": list(values),
    }


def _judged(plan: Plan, name: str, records: Mapping[tuple[str, str, int], Mapping[str, Any]]) -> dict[str, Any]:
    """One finding: its comparisons by every metric, judged by the first."""
    finding = plan.findings[name]
    level = 1 - 0.05 / max(1, len(finding.comparisons)) if finding.either else 0.95
    rows, decisive = [], []
    for c in finding.comparisons:
        seeds = [s for s in plan.all_seeds if (c.data, c.better, s) in records and (c.data, c.worse, s) in records]
        if not seeds:
            continue
        better, worse = ([Outcome.of(dict(records[c.data, v, s])) for s in seeds] for v in (c.better, c.worse))
        draw = zlib.crc32(c.data.encode())
        by_metric: dict[str, Difference] = {m: difference(better, worse, m, draw) for m in plan.metrics}
        decisive.append(by_metric[plan.metrics[0]])
        rows.append({**asdict(c), "seeds": seeds, **{m: d.to_json(level) for m, d in by_metric.items()}})
    return {"claim": finding.claim, "either": finding.either, **judge(decisive, finding.either), "comparisons": rows}


def _chosen(plan: Plan, only: Sequence[str] | None) -> list[Run]:
    runs = list(plan.runs())
    if not only:
        return runs
    known = {*plan.data, *plan.variants, *(v.group for v in plan.variants.values())}
    for name in only:
        if name not in known:
            raise RecipeError(f"the plan has no '{name}'{nearest(name, known)}", do="name a data set, variant or group")
    data = {n for n in only if n in plan.data}
    rest = {n for n in only if n not in plan.data}
    return [
        r
        for r in runs
        if (not data or r.data in data)
        and (not rest or r.variant == BASE or {r.variant, plan.variants[r.variant].group} & rest)
    ]


def _all(plan: Plan) -> Iterator[Run]:
    yield from map(plan.pretraining, plan.pretrain)
    yield from plan.runs()


def _manifest(plan: Plan, name: str, drop: tuple[str, ...], folder: Path) -> Path:
    """The manifest of a data set, made where it is missing or was made otherwise."""
    whole = _made(name, plan.data[name], folder / "data" / name)
    if not drop:
        return whole
    file = whole.with_name(f"manifest_without_{'_'.join(drop)}.csv")
    manifest = Manifest.read(whole)
    manifest.with_table(manifest.table.drop(columns=list(drop))).write(file)
    return file


def _made(name: str, data: DataSet, folder: Path) -> Path:
    receipt, make = folder / "made.json", dict(data.make)
    manifest = folder / "manifest.csv"
    if manifest.is_file() and receipt.is_file() and json.loads(receipt.read_text(encoding="utf-8")) == make:
        return manifest
    shutil.rmtree(folder, ignore_errors=True)
    try:
        if "phantoms" in make:
            from scantling.data.phantoms import WRITERS

            kind = str(make["phantoms"])
            if kind not in WRITERS:
                raise RecipeError(
                    f"no phantoms '{kind}'{nearest(kind, WRITERS)}", where=f"data.{name}.make",
                    do=f"use {', '.join(WRITERS)}",
                )  # fmt: skip
            WRITERS[kind](folder, **{k: v for k, v in make.items() if k not in {"phantoms", "mask", "target"}})
            if "mask" in make:
                drawn = Manifest.read(manifest)
                table = drawn.table.assign(mask=drawn.table[make["mask"]], target=make["target"])
                drawn.with_table(table).write(manifest)
        else:
            from scantling.data.layouts import import_layout
            from scantling.data.split import split

            options = {k: v for k, v in make.items() if k not in {"layout", "source", "part", "divide"}}
            source = open_data() / make["source"]
            if not source.exists():
                raise DataError("the open data are not there", where=source, do=f"set {DATA} to their folder")
            folder.mkdir(parents=True, exist_ok=True)
            import_layout(make["layout"], source.resolve(), manifest, **options)
            if "part" in make:
                _part(Manifest.read(manifest), **make["part"]).write(manifest)
            if "divide" in make:
                split(Manifest.read(manifest), **{"seed": 0, **make["divide"]}).write(manifest)
    except (KeyError, TypeError) as error:
        raise RecipeError(
            f"cannot be made ({error})", where=f"data.{name}.make", do="give layout and source, or phantoms and options"
        ) from error
    write_json(receipt, make)
    return manifest


def _part(manifest: Manifest, take: int, of: int, by: str = "patient") -> Manifest:
    """One of several parts of about the same size, no group of which has images in another part."""
    groups = manifest.table[by].astype(str)
    inside = [zlib.crc32(group.encode()) % of == take for group in groups]
    return manifest.with_table(manifest.table[inside].reset_index(drop=True))


def _carried(
    pool: ProcessPoolExecutor, slots: int, jobs: Sequence[Job], bundles: Mapping[str, str], carry: Carry
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Outcomes as they come; a free worker takes the first job whose pretrainings are there."""
    known, waiting = dict(bundles), list(jobs)
    pending: dict[Future[dict[str, Any]], Job] = {}
    while True:
        ready = [j for j in waiting if set(j.run.pretrainings) <= known.keys()]
        for job in ready[: slots - len(pending)]:
            waiting.remove(job)
            pending[pool.submit(carry, job, dict(known))] = job
        if not pending:
            break
        future = next(as_completed(pending))
        job = pending.pop(future)
        try:
            outcome = future.result()
        except ScantlingError as error:
            outcome = {"error": str(error)}
        except BrokenProcessPool as error:
            raise TrainingError("a worker process ended early", do="look whether memory ran out, use fewer") from error
        known |= _bundle_of(job, outcome)
        yield job, outcome
    for job in waiting:
        yield job, {"error": "its pretraining broke off"}


def _bundle_of(job: Job, outcome: Mapping[str, Any] | None) -> dict[str, str]:
    if job.metrics or not outcome or "bundle" not in outcome:
        return {}
    return {job.run.variant.removeprefix(PRETRAINED): outcome["bundle"]}


def _line(job: Job, outcome: Mapping[str, Any], done: int, total: int, seconds: float) -> str:
    parts = [f"{done}/{total}", job.run.data, job.run.variant, f"seed {job.run.seed}"]
    if "error" in outcome:
        parts.append(f"broke off: {outcome['error']}")
    elif "test" in outcome:
        name = job.metrics[0]
        parts.append(f"validation {name} {outcome['validation'][name] or 0:.3f}, {outcome['seconds']['train']:.0f} s")
    return "  ".join([*parts, f"{seconds / done * (total - done) / 60:.0f} min left"])


def machine(workers: int) -> dict[str, Any]:
    """What the runs ran on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "workers": workers,
        "threads_a_worker": 1,
        "accelerator": "none",
    }


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), platform.processor())


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None
