"""The tables of the page of SDICE, from bench/results/sdice.json and sdice_speed.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], list[str]]
TITLES = {"digits": "Handwritten digits", "nih1000_64": "Chest X-rays (NIH1000@64)", "idrid_grading": "IDRiD-455"}
COLUMNS = {
    "fisher gamma_intra": "gamma_intra, Fisher",
    "fisher gamma_inter": "gamma_inter, Fisher",
    "wasserstein d_intra": "EMD intra",
    "wasserstein d_inter": "EMD inter",
    "ms_ssim": "MS-SSIM",
    "accuracy": "accuracy on real",
}


def sdice_lines(content: Mapping[str, Any], table: Table) -> Iterator[str]:
    """The series of every data set, and what they say."""
    for name, rows in content["rows"].items():
        yield from (f"### {TITLES.get(name, name)}", "")
        columns = [c for c in COLUMNS if c in next(iter(rows.values()))]
        yield from table(
            ["synthetic set", *(COLUMNS[c] for c in columns)],
            [[key, *(_spread(row[c]) for c in columns)] for key, row in rows.items()],
        )
        claims = content["claims"][name]
        yield from table(
            ["expected", "distance", "seen in"],
            [[c["claim"], c["distance"], f"{c['seeds']} of {c['of']} seeds"] for c in claims if "distance" in c],
        )
        ranked = [[c["claim"], f"{c['mean']:+.2f}", ", ".join(f"{v:+.2f}" for v in c["values"])]
                  for c in claims if "values" in c]  # fmt: skip
        if ranked:
            yield from table(["", "mean", "seed by seed"], ranked)
    seeds = ", ".join(next(iter(content["runs"].values())))
    m = content["machine"]
    yield (
        f"Seeds {seeds}; mean and standard deviation. The encoder is trained anew for every seed, on images that are "
        f"in neither set. {m['processor']}, one core; `python bench/sdice.py`. {content['created'][:10]}."
    )
    yield ""


def _spread(figure: Mapping[str, Any]) -> str:
    return f"{figure['mean']:.3f}" + ("" if figure["sd"] is None else f" ± {figure['sd']:.3f}")


def sdice_speed_lines(content: Mapping[str, Any], table: Table) -> Iterator[str]:
    """The large comparison, and exact moments against all pairs."""
    large, small = content["large"], content["small"]
    yield from table(
        ["real and synthetic embeddings", "pairs", "seconds", "highest memory of the process", "before"],
        [
            [
                f"{large['images']:,} and {large['images']:,} of {large['width']} numbers, {large['classes']} classes",
                f"{large['pairs']:.2g}",
                f"{large['seconds']:.1f}",
                f"{large['peak_bytes'] / 2**20:,.0f} MiB",
                f"{large['bytes_before'] / 2**20:,.0f} MiB",
            ]
        ],
    )
    rows = [["exact moments", f"{small['seconds']['moments']['median']:.2f}", "1"]]
    for name, ratio in small["ratio"].items():
        spread = f"{ratio['median']:.0f} ({min(ratio['all']):.0f} to {max(ratio['all']):.0f})"
        rows.append([name, f"{small['seconds'][name]['median']:.2f}", spread])
    yield from table([f"{small['images']:,} embeddings", "processor seconds", "times the moments"], rows)
    m = content["machine"]
    yield (
        f"{m['processor']}, {content['threads']} threads. Means and variances differ by at most "
        f"{small['largest_difference']:.0e}. The index alone, without histograms, floor and intervals; "
        "`python bench/sdice_speed.py`."
    )
    yield ""
