"""The tables of the page of AADG, and its curve, from bench/results/aadg.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], list[str]]

LABELS = {
    "none": "no augmentation",
    "fixed": "the fixed policy",
    "random": "random policies",
    "rand_augment": "RandAugment",
    "trivial_augment": "TrivialAugment",
    "big_aug": "BigAug-like stack",
    "mix_style": "MixStyle, no augmentation",
    "frozen_controller": "AADG, controller not taught",
    "aadg": "AADG",
    "aadg_1/2": "AADG, 1/2 of its epochs",
    "aadg_1/5": "AADG, 1/5 of its epochs",
    "aadg_1/10": "AADG, 1/10 of its epochs",
}
CURVE = ("aadg_1/10", "aadg_1/5", "aadg_1/2", "aadg")
WHOLE = "aadg_whole"
DRAWS = 10_000


def aadg_lines(content: Mapping[str, Any], table: Table) -> Iterator[str]:
    """Dice and HD95 on every domain left out, what AADG gains over each other way, and the curve of its schedule."""
    summary, domains = content["summary"], content["domains"]
    ways = [name for name in LABELS if name in summary]
    seeds = sorted({seed for way in ways for seed in summary[way]["seeds"]})
    targets = [d for d in domains if d in summary["aadg"]["targets"]]
    yield from table(
        [
            "way to train",
            *(domains[d]["title"] for d in targets),
            *("mean Dice", "worst", "mean HD95", "updates", "minutes"),
        ],
        [
            [
                LABELS[way],
                *(_figure(summary[way]["targets"].get(d), len(seeds) > 1) for d in targets),
                f"{summary[way]['mean']['dice']:.3f}",
                f"{summary[way]['worst']['dice']:.3f}",
                f"{summary[way]['mean']['hd95']:.1f}",
                str(summary[way]["updates"]),
                f"{summary[way]['seconds'] / 60:.1f}",
            ]
            for way in ways
        ],
    )
    sizes, size = [domains[d]["images"] for d in targets], content["settings"]["all"]["data.image_size"]
    told = f"{'mean and deviation of seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}"
    yield (
        f"Dice on all images ({', '.join(map(str, sizes))}) of the domain left out, {told}; HD95 in pixels of images "
        f"of {size}. Updates and minutes: middle of all runs."
    )
    yield ""
    yield from table(
        ["AADG less", "mean difference in Dice", "95 % interval", "better in"],
        [[LABELS[way], *_difference(content["runs"], way)] for way in ways if way not in CURVE],
    )
    yield (
        "Paired by domain and seed; the interval is a bootstrap over these pairs, which share training images, and is "
        "therefore rather too narrow."
    )
    yield ""
    if all(name in summary for name in CURVE):
        yield "![Dice on domains never seen against updates of the search](../images/aadg_curve.png)"
        yield ""
    if WHOLE in summary:
        yield "The recipe's own schedule of 300 epochs, one seed, against this one and its parts: Dice."
        yield ""
        shown = [d for d in targets if d in summary[WHOLE]["targets"]]
        steps = [name for name in (*CURVE, WHOLE) if name in summary]
        yield from table(
            ["updates", *(str(summary[name]["updates"]) for name in steps)],
            [[domains[d]["title"], *(f"{_dice(content['runs'], name, d):.3f}" for name in steps)] for d in shown],
        )
    machine = content["machine"]
    yield (
        f"`python bench/aadg.py`; {machine['processor']}, {machine['cores']} cores, a run on each. "
        + ", ".join(f"{name} {version}" for name, version in content["versions"].items())
        + f". {content['created'][:10]}."
    )
    yield ""


def draw_curve(content: Mapping[str, Any], out: Path) -> None:
    """Mean Dice over domains against updates, for each seed and on average, beside training without augmentation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.4), layout="constrained")
    axes = figure.subplots()
    seeds = sorted({run["seed"] for run in content["runs"]})
    updates = [content["summary"][name]["updates"] for name in CURVE]
    rows = np.array([[_mean(content["runs"], name, seed) for name in CURVE] for seed in seeds])
    for row in rows:
        axes.plot(updates, row, color="#9db4c8", linewidth=1)
    axes.plot(updates, rows.mean(0), "o-", color="#1f4e79", label="AADG, schedules of other lengths")
    for name, style in (("none", ":"), ("random", "--")):
        level = content["summary"][name]["mean"]["dice"]
        axes.axhline(level, color="#666666", linestyle=style, linewidth=1, label=LABELS[name])
    axes.set(xlabel="updates of the network", ylabel="Dice on domains never seen", xlim=(0, None))
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(out, dpi=130)


def _mean(runs: Sequence[Mapping[str, Any]], way: str, seed: int) -> float:
    return float(np.mean([run["test"]["dice"] for run in runs if run["variant"] == way and run["seed"] == seed]))


def _dice(runs: Sequence[Mapping[str, Any]], way: str, target: str) -> float:
    """Dice on one domain with the seed of the whole schedule."""
    seed = next(run["seed"] for run in runs if run["variant"] == WHOLE)
    found = [r["test"]["dice"] for r in runs if (r["variant"], r["target"], r["seed"]) == (way, target, seed)]
    return float(np.mean(found)) if found else float("nan")


def _figure(target: Mapping[str, Any] | None, several: bool) -> str:
    if target is None:
        return ""
    spread = f" ± {target['dice']['std']:.3f}" if several else ""
    return f"{target['dice']['mean']:.3f}{spread}"


def _difference(runs: Sequence[Mapping[str, Any]], way: str) -> list[str]:
    """Mean difference, interval, and in how many pairs AADG is better."""
    ours, theirs = (
        {(r["target"], r["seed"]): r["test"]["dice"] for r in runs if r["variant"] == v} for v in ("aadg", way)
    )
    gains = np.array([ours[pair] - theirs[pair] for pair in ours if pair in theirs])
    drawn = np.random.default_rng(0).choice(gains, (DRAWS, len(gains))).mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return [f"{gains.mean():+.3f}", f"{low:+.3f} to {high:+.3f}", f"{int((gains > 0).sum())} of {len(gains)}"]
