"""A bench repeats nothing, pairs its runs by seed, and judges findings by a rule that can say no."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from scantling.core.errors import RecipeError, TrainingError
from scantling.core.files import write_json
from scantling.run.bench import run_bench
from scantling.run.bench_findings import Outcome, difference, interval, judge, verdict
from scantling.run.bench_job import carry_out
from scantling.run.bench_plan import read_plan

ROOT = Path(__file__).resolve().parents[2]

PLAN: dict[str, Any] = {
    "name": "small",
    "recipe": "dr_grading",
    "paper": "nobody 2024",
    "seeds": [0, 1],
    "metrics": ["quadratic_weighted_kappa", "accuracy"],
    "settings": {"task.adapter.backbone": "test_resnet", "task.adapter.weights": "none"},
    "data": {
        "eyes": {"title": "Eyes", "make": {"phantoms": "fundus", "n": 40, "size": 32, "fractions": [0.5, 0.2, 0.3]}},
        "more": {"title": "More", "make": {"phantoms": "fundus", "n": 24, "size": 32, "seed": 5}},
    },
    "pretrain": {"first": {"data": "more"}},
    "variants": {
        "base": {"settings": {"task.adapter.weights": "pretrain:first"}, "data": ["eyes"]},
        "scratch": {"group": "initialisation", "data": ["eyes"]},
    },
    "findings": {
        "start": {"claim": "It helps.", "comparisons": [{"data": "eyes", "better": "base", "worse": "scratch"}]}
    },
}


def written(folder: Path, **changes: Any) -> Path:
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump({**PLAN, **changes}), encoding="utf-8")
    return file


def pretend(job: Any, bundles: Any) -> dict[str, Any]:
    """A training that takes no time: the base is right more often; every call leaves a line."""
    run, made = job.run, np.random.default_rng(job.run.seed)
    with (job.work / "calls.txt").open("a", encoding="utf-8") as stream:
        stream.write(f"{run.data} {run.variant} {run.seed} {dict(bundles)}\n")
    if not job.metrics:
        return {"bundle": "the bundle"}
    labels = np.arange(200) // 40
    wrong = made.random(200) < (0.1 if run.variant == "base" else 0.6)
    probabilities = np.eye(5)[np.where(wrong, made.integers(0, 5, 200), labels)]
    figures = dict.fromkeys(job.metrics, 0.5)
    outcome = {
        "seed": run.seed, "key": run.key, "test": figures, "validation": figures, "labels": labels.tolist(),
        "probabilities": probabilities.tolist(), "groups": None,
        "seconds": {"train": 1.0, "test": 0.1}, "parameters": {"total": 1}, "splits": {"splits": {}, "classes": {}},
    }  # fmt: skip
    write_json(job.record, outcome)
    return outcome


def break_off(job: Any, bundles: Any) -> dict[str, Any]:
    """Runs with seed 1 break off."""
    return {"error": "the loss became nan"} if job.run.seed == 1 and job.metrics else pretend(job, bundles)


@pytest.fixture
def inline(monkeypatch):
    """Jobs run in this process."""
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setattr("scantling.run.bench.ProcessPoolExecutor", lambda n, **_: ThreadPoolExecutor(n))


def calls(work: Path) -> list[str]:
    file = work / "calls.txt"
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []


def bench(plan: Path, folder: Path, carry: Any = pretend, **options: Any) -> dict[str, Any]:
    file = run_bench(plan, folder / "results", work=folder / "work", progress=False, carry=carry, **options)
    return json.loads(file.read_text(encoding="utf-8"))


def test_runs_are_done_once_and_pretraining_comes_first(tmp_path, inline):
    found = bench(written(tmp_path), tmp_path)
    done = calls(tmp_path / "work")
    assert sorted(c.split(" {")[0] for c in done) == [
        "eyes base 0", "eyes base 1", "eyes scratch 0", "eyes scratch 1", "more pretrain:first 0",
    ]  # fmt: skip
    assert all(("the bundle" in c) for c in done if " base " in c)
    assert found["findings"]["start"]["holds"] == "yes"
    bench(written(tmp_path), tmp_path)
    assert [c for c in calls(tmp_path / "work")[len(done) :] if "pretrain" not in c] == []


def test_a_changed_setting_runs_only_what_it_changes(tmp_path, inline):
    bench(written(tmp_path), tmp_path)
    before = len(calls(tmp_path / "work"))
    scratch = {**PLAN["variants"]["scratch"], "settings": {"trainer.max_epochs": 3}}
    bench(written(tmp_path, variants={**PLAN["variants"], "scratch": scratch}), tmp_path)
    new = [c.split(" {")[0] for c in calls(tmp_path / "work")[before:] if "pretrain" not in c]
    assert sorted(new) == ["eyes scratch 0", "eyes scratch 1"]


def test_what_made_the_pretraining_decides_the_runs_that_use_it(tmp_path):
    keys = {(r.variant, r.seed): r.key for r in read_plan(written(tmp_path)).runs()}
    changed = {"first": {"data": "more", "settings": {"trainer.max_epochs": 9}}}
    after = {(r.variant, r.seed): r.key for r in read_plan(written(tmp_path, pretrain=changed)).runs()}
    assert keys["scratch", 0] == after["scratch", 0]
    assert keys["base", 0] != after["base", 0]
    assert len(set(keys.values())) == len(keys)


def test_runs_that_break_off_are_reported_after_the_others_are_written(tmp_path, inline):
    with pytest.raises(TrainingError, match="2 runs broke off"):
        bench(written(tmp_path), tmp_path, break_off)
    found = json.loads((tmp_path / "results" / "small.json").read_text(encoding="utf-8"))
    assert [r["seeds"] for r in found["results"]] == [[0], [0]]
    assert bench(written(tmp_path), tmp_path)["results"][0]["seeds"] == [0, 1]


def test_only_names_what_to_run(tmp_path, inline):
    bench(written(tmp_path), tmp_path, only="initialisation", seeds=[0])
    assert {c.split(" {")[0] for c in calls(tmp_path / "work")} >= {"eyes scratch 0", "eyes base 0"}
    assert not any(" 1 {" in c for c in calls(tmp_path / "work"))
    with pytest.raises(RecipeError, match="did you mean 'scratch'"):
        bench(written(tmp_path), tmp_path, only=["scrach"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": ["accuracy"]}, "did you mean 'metrics'"),
        ({"metrics": ["acuracy"]}, "no metric 'acuracy'.*accuracy"),
        ({"pretrain": {}}, "no pretraining 'first'"),
        ({"variants": {"scratch": {}}}, "no variant 'base'"),
        ({"pretrain": {"first": {"data": "mor"}}}, "no data set 'mor'"),
        ({"data": {"eyes": {"title": "Eyes"}}}, "make"),
    ],
)
def test_a_wrong_plan_is_refused_with_the_nearest_name(tmp_path, change, message):
    with pytest.raises(RecipeError, match=message):
        read_plan(written(tmp_path, **change))


def predictions(share: float, seed: int, n: int = 150) -> Outcome:
    made, labels = np.random.default_rng(seed), np.arange(n) % 5
    return Outcome(labels, np.eye(5)[np.where(made.random(n) < share, made.integers(0, 5, n), labels)])


def test_equal_runs_do_not_differ_and_exchange_changes_the_sign():
    one, two = [predictions(0.2, s) for s in range(3)], [predictions(0.5, s + 9) for s in range(3)]
    same = difference(one, one, "accuracy", replicates=200)
    assert not same.values.any()
    assert not same.draws.any()
    there, back = (difference(a, b, "accuracy", seed=4, replicates=200) for a, b in ((one, two), (two, one)))
    np.testing.assert_allclose(there.draws, -back.draws)
    np.testing.assert_allclose(there.values, -back.values)


def test_interval_finds_a_large_difference_and_rarely_one_that_is_not_there():
    large = difference(
        [predictions(0.1, s) for s in range(3)], [predictions(0.5, s + 50) for s in range(3)], "accuracy"
    )
    assert large.to_json()["holds"] == "yes"
    verdicts = []
    for trial in range(60):
        one, two = ([predictions(0.3, 1000 + 20 * trial + s + o) for s in range(3)] for o in (0, 10))
        verdicts.append(difference(one, two, "accuracy", seed=trial, replicates=300).to_json()["holds"])
    assert verdicts.count("unclear") > 48


def test_patients_are_drawn_whole():
    """Twenty copies of each of ten images, as images of ten patients, are no more evidence than ten images."""
    labels = np.repeat(np.arange(10) % 5, 20)
    wrong = np.repeat(np.arange(10) < 3, 20)
    right, other = np.eye(5)[labels], np.eye(5)[np.where(wrong, (labels + 1) % 5, labels)]
    width = []
    for groups in (None, np.repeat(np.arange(10), 20)):
        found = difference([Outcome(labels, right, groups)], [Outcome(labels, other, groups)], "accuracy")
        low, high = interval(found.draws, 0.95)
        width.append(high - low)
    assert width[1] > 3 * width[0]


def test_a_finding_needs_its_mean_and_sensitivity_any_direction():
    one, two = [predictions(0.1, s) for s in range(2)], [predictions(0.6, s + 9) for s in range(2)]
    up, down = difference(one, two, "accuracy"), difference(two, one, "accuracy")
    assert judge([up], either=False)["holds"] == "yes"
    assert judge([down], either=False)["holds"] == "opposite"
    assert judge([up, down], either=False)["holds"] == "unclear"
    assert judge([down], either=True)["holds"] == "yes"
    assert judge([], either=True)["holds"] == "not measured"
    assert verdict(*interval(np.array([np.nan]), 0.95)) == "unclear"


def test_runs_on_other_images_are_not_compared():
    with pytest.raises(ValueError, match="different test images"):
        difference([predictions(0.1, 0)], [predictions(0.1, 0, n=100)], "accuracy")


def test_a_real_run_leaves_its_figures_and_no_names(tmp_path, inline, monkeypatch):
    settings = {
        **PLAN["settings"], "trainer.max_epochs": 1, "data.image_size": 32, "data.crop": "none",
        "trainer.accelerator": "cpu", "data.workers": 1,
    }  # fmt: skip
    found = bench(written(tmp_path, settings=settings, seeds=[0]), tmp_path, carry_out, workers=1)
    assert {r["variant"] for r in found["results"]} == {"base", "scratch"}
    assert all(0 <= r["test"]["accuracy"]["mean"] <= 1 and r["seconds"]["mean"] > 0 for r in found["results"])
    assert found["data"]["eyes"]["splits"]["test"]["images"] > 0
    text = (tmp_path / "results" / "small.json").read_text(encoding="utf-8")
    assert "p00001" not in text
    assert str(tmp_path) not in text
    assert not list((tmp_path / "work" / "trainings").glob("base-*"))
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    page = runpy.run_path(str(ROOT / "bench" / "tables.py"))["page"](found)
    assert "| It helps. |" in page
    assert "### Eyes" in page


def test_the_plans_of_the_project_can_be_read():
    plans = [read_plan(p) for p in sorted((ROOT / "bench").glob("*.yaml"))]
    assert plans
    assert all(len(list(p.runs())) > 0 for p in plans)
