"""The tables of the page of SPMix, from bench/results/spmix_speed.json and spmix_toy.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], list[str]]


def speed_lines(content: Mapping[str, Any], table: Table) -> Iterator[str]:
    """Steps with SPMix against steps without, and images a second of each detector."""
    steps = content["steps"]
    rows = [["no mixing", f"{steps['seconds_a_step']['plain']['median']:.3f}", "1"]]
    for name, ratio in steps["ratio"].items():
        spread = f"{ratio['median']:.2f} ({min(ratio['all']):.2f} to {max(ratio['all']):.2f})"
        rows.append([f"SPMix, {name}", f"{steps['seconds_a_step'][name]['median']:.3f}", spread])
    yield from table(["a training step", "seconds", "ratio to no mixing"], rows)
    detectors = [[f"`{name}`", f"{rate['median']:,.0f}"] for name, rate in content["images_a_second"].items()]
    yield from table(["saliency", "images a second"], detectors)
    where = content["machine"]["processor"] + ", one core" if content["device"] == "cpu" else content["device"]
    yield (
        f"{content['backbone']}, {content['size']} px; {content['batch']} rows reach the network, all of them mixed "
        f"with class-balanced partners. {where}; `python bench/spmix_speed.py`."
    )
    yield ""


def toy_lines(content: Mapping[str, Any], table: Table) -> Iterator[str]:
    """Recalls beside those of the description, and what they say."""
    seeds = list(next(iter(content["rows"].values()))["macro"]["values"])
    rows = []
    for row in content["rows"].values():
        described = row["described"] or (None, None)
        figures = [f"{row[which]['mean']:.3f} ± {row[which]['sd']:.3f}" for which in ("macro", "tail")]
        rows.append([row["label"], *figures, *("" if d is None else f"{d:.3f}" for d in described)])
    yield from table(["training", "macro recall", "tail recall", "described: macro", "tail"], rows)
    yield from table(
        ["expected", "recall", "mean difference", "seed by seed", "seen"],
        [
            [
                claim["claim"] + (f" by {claim['least']:.2f}" if claim["least"] else ""),
                claim["recall"],
                f"{claim['mean']:+.3f}",
                ", ".join(f"{v:+.3f}" for v in claim["values"]),
                "yes" if claim["holds"] else "no",
            ]
            for claim in content["claims"]
        ],
    )
    yield f"Seeds {', '.join(seeds)}; `python bench/spmix_toy.py`. Contrast and noise were chosen with seed 0."
    yield ""
