"""Writes docs/methods/<name>_tables.md from every bench/results/<name>.json that a bench left, and from nothing else.

A plan without findings, such as a search of learning rates, has none. The page of the method includes its tables below
a heading of second order.

Use: ``python bench/tables.py``
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scantling.core.files import write_text
from tables_aadg import aadg_lines
from tables_biometry import biometry_lines
from tables_fpt import meter_lines, speed_lines, texture_lines
from tables_lesion_paste import lesion_paste_speed_lines
from tables_measure import measure_speed_lines
from tables_policies import policy_speed_lines
from tables_sdice import sdice_lines, sdice_speed_lines
from tables_spmix import speed_lines as spmix_speed_lines
from tables_spmix import toy_lines
from tables_uno_qa import uno_qa_lines

HERE = Path(__file__).resolve().parent
WORDS = {"quadratic_weighted_kappa": "quadratic kappa"}
VERDICTS = {"yes": "yes", "opposite": "no, the opposite", "unclear": "unclear", "not measured": "not measured"}
KINDS = {
    "aadg": aadg_lines,
    "fetal_biometry": biometry_lines,
    "fpt_meter": meter_lines,
    "fpt_speed": speed_lines,
    "fpt_texture": texture_lines,
    "lesion_paste_speed": lesion_paste_speed_lines,
    "measure_speed": measure_speed_lines,
    "policy_speed": policy_speed_lines,
    "sdice": sdice_lines,
    "sdice_speed": sdice_speed_lines,
    "spmix_speed": spmix_speed_lines,
    "spmix_toy": toy_lines,
    "uno_qa": uno_qa_lines,
}
FEWEST = 5
"""Patients from which on an interval is shown."""


def main() -> int:
    """Write the tables of all results."""
    for file in sorted((HERE / "results").glob("*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        if {"results", "findings", "rule"} <= content.keys() and content["findings"]:
            text = page(content)
        elif content.get("kind") == "segmentation":
            text = segmentation_page(content)
        elif content.get("name") in KINDS:
            text = "\n".join([*_source(content), *KINDS[content["name"]](content, table)])
        else:
            continue
        out = HERE.parent / "docs" / "methods" / f"{content['name']}_tables.md"
        write_text(out, text)
        print(out.relative_to(HERE.parent))
    return 0


def page(content: Mapping[str, Any]) -> str:
    """The whole page of a bench with findings as Markdown."""
    lines = [
        *_source(content),
        content["summary"],
        "",
        *_findings(content),
        *(line for name in content["data"] for line in _data_set(content, name)),
        "### How it was measured",
        "",
        *_method(content),
        "",
    ]
    return "\n".join(lines)


def segmentation_page(content: Mapping[str, Any]) -> str:
    """The whole page of a bench of masks as Markdown."""
    titles = {site: about["title"] for site, about in content["data"].items()}
    whole, full, size = content["test"], content["test_at_full_size"], content["settings"]["data.image_size"]
    parts = [(titles[s], whole["by"]["site"][s], full["by"]["site"][s]) for s in titles] + [("all", whole, full)]
    notes = "; ".join(f"{titles[site]}: {about['note']}" for site, about in content["data"].items())
    lines = [
        *_source(content),
        f"One training on {' and '.join(titles.values())} together: {_counted(content['splits'])}. In the table are "
        "means over the test photographs with 95 % intervals from a bootstrap by patient, but none for fewer than "
        f"{FEWEST} patients. HD95 is in pixels.",
        "",
        *table(
            ["test", "images", "patients", f"Dice at {size} px", f"IoU at {size} px", f"HD95 at {size} px",
             "Dice at full size", "HD95 at full size"],
            [
                [
                    title,
                    str(prepared["n"]),
                    str(prepared["n_groups"]),
                    *(_between(prepared, metric) for metric in ("dice", "iou", "hd95")),
                    *(_between(original, metric) for metric in ("dice", "hd95")),
                ]
                for title, prepared, original in parts
            ],
        ),
        f"![Photograph, true vessels and predicted vessels](../{content['picture']['file']})",
        "",
        f"*Of each set the test photograph with the middle Dice. {notes}.*",
        "",
        *_segmentation_method(content),
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _segmentation_method(content: Mapping[str, Any]) -> Iterator[str]:
    m, seconds, validation = content["machine"], content["seconds"], content["validation"]
    settings = " ".join(f"--{name} {value}" for name, value in content["settings"].items())
    yield (
        f"Recipe `{content['recipe']}` with `{settings}`: {content['parameters']['total']:,} parameters, all of them "
        f"learnt, from random weights; {content['epochs']} epochs, {content['steps']} steps, in "
        f"{seconds['train'] / 60:.0f} minutes (half of the epochs took {seconds['epoch_median']:.0f} seconds or less). "
        f"The weights are those of epoch {validation['epoch']}, the best on the validation photographs (Dice "
        f"{validation['dice']:.3f}), and were measured on the test photographs once."
    )
    yield ""
    yield (
        f"{m['processor']}, {m['threads_a_worker']} of {m['cores']} cores, {m['memory_gb']} GB. The machine did other "
        "work as well, so minutes are upper bounds. "
        + ", ".join(f"{k} {x}" for k, x in content["versions"]["training"].items())
        + f". {content['created'][:10]}."
    )
    for remark in [*content["test"]["notes"], *content["remarks"]]:
        yield from ("", remark)


def _counted(splits: Mapping[str, Mapping[str, Mapping[str, int]]]) -> str:
    """``20 training, 5 validation and 9 test photographs of 16, 4 and 7 patients``."""
    images, patients = (
        [str(sum(site[what] for site in splits[name].values())) for name in ("train", "val", "test")]
        for what in ("images", "patients")
    )
    return "{} training, {} validation and {} test photographs of {}, {} and {} patients".format(*images, *patients)


def _between(part: Mapping[str, Any], metric: str) -> str:
    """A figure, with its interval where there are patients enough."""
    figure, digits = part["metrics"][metric], 1 if metric == "hd95" else 3
    if figure["value"] is None:
        return "-"
    value, low, high = (f"{figure[end] or 0:.{digits}f}" for end in ("value", "low", "high"))
    return value if figure["low"] is None or part["n_groups"] < FEWEST else f"{value} ({low} to {high})"


def _source(content: Mapping[str, Any]) -> list[str]:
    return [f"<!-- Generated by bench/tables.py from bench/results/{content['name']}.json. Do not edit. -->", ""]


def _findings(content: Mapping[str, Any]) -> Iterator[str]:
    yield from ("### Findings", "", f"After {content['paper']}. " + content["rule"], "")
    metrics = _metrics(content)
    yield from table(
        ["finding", f"mean difference in {_word(metrics[0])}", "seen here"],
        [[f["claim"], _interval(f), VERDICTS[f["holds"]]] for f in content["findings"].values()],
    )
    for finding in content["findings"].values():
        if not finding["comparisons"]:
            continue
        yield from (f"#### {finding['claim']}", "")
        yield from table(
            ["data", "expected to be better", "than", *(f"difference in {_word(m)}" for m in metrics), "seed by seed",
             "seen here"],
            [
                [
                    content["data"][c["data"]]["title"],
                    _label(content, c["data"], c["better"]),
                    _label(content, c["data"], c["worse"]),
                    *(_interval(c[m]) for m in metrics),
                    ", ".join(f"{v:+.3f}" for v in c[metrics[0]]["values"]),
                    VERDICTS[c[metrics[0]]["holds"]],
                ]
                for c in finding["comparisons"]
            ],
        )  # fmt: skip


def _data_set(content: Mapping[str, Any], name: str) -> Iterator[str]:
    about = content["data"][name]
    images = ", ".join(f"{s['images']} {split}" for split, s in about["splits"].items())
    yield from (f"### {about['title']}", "", f"{images} images. {about['note']}".strip(), "")
    metrics = _metrics(content)
    rows = [r for r in content["results"] if r["data"] == name]
    costs = any(r.get("peak_bytes") for r in rows)
    yield from table(
        ["component", "setting", *(f"test {_word(m)}" for m in metrics), f"validation {_word(metrics[0])}", "seeds",
         "seconds a run", *(["learnable", "peak MiB", "ms a step"] if costs else [])],
        [
            [
                r["group"],
                r["label"],
                *(_spread(r["test"][m]) for m in metrics),
                _spread(r["validation"][metrics[0]]),
                str(len(r["seeds"])),
                f"{r['seconds']['mean']:.0f}",
                *(_costs(r) if costs else []),
            ]
            for r in rows
        ],
    )  # fmt: skip


def _costs(result: Mapping[str, Any]) -> list[str]:
    """Learnable parameters, the peak memory of a step, and its time."""
    step = result["step_seconds"]["mean"]
    return [
        f"{result['parameters']['learnable']:,}",
        f"{result['peak_bytes'] / 2**20:,.1f}" if result["peak_bytes"] else "-",
        f"{1000 * step:.0f}" if step else "-",
    ]


def _method(content: Mapping[str, Any]) -> Iterator[str]:
    m, v = content["machine"], content["versions"]
    backbone = content["settings"].get("task.adapter.backbone", "of the recipe")
    yield (
        f"Recipe `{content['recipe']}`, backbone `{backbone}`; "
        f"seeds {', '.join(map(str, content['seeds']))}; mean and standard deviation over the seeds. {content['test']}"
    )
    yield ""
    yield (
        f"{m['processor']}, {m['cores']} cores, {m['memory_gb']} GB; {m['workers']} processes of "
        f"{m['threads_a_worker']} thread each. The machine did other work as well, so seconds are upper bounds. "
        + ", ".join(f"{k} {x}" for k, x in v.items())
        + f". {content['created'][:10]}."
    )
    for remark in content["remarks"]:
        yield from ("", remark)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table and an empty line.

    >>> table(["a", "b"], [["1", "x|y"]])
    ['| a | b |', '|---|---|', '| 1 | x\\\\|y |', '']
    """
    lines = [list(head), *([c.replace("|", "\\|") for c in row] for row in rows)]
    written = [f"| {' | '.join(line)} |" for line in lines]
    return [written[0], "|" + "---|" * len(head), *written[1:], ""]


def _metrics(content: Mapping[str, Any]) -> list[str]:
    return list(content["results"][0]["test"])


def _label(content: Mapping[str, Any], data: str, variant: str) -> str:
    found = [r["label"] for r in content["results"] if r["data"] == data and r["variant"] == variant]
    return found[0].partition(":")[0] if found else variant


def _word(metric: str) -> str:
    return WORDS.get(metric, metric.replace("_", " "))


def _spread(figure: Mapping[str, Any]) -> str:
    if figure["mean"] is None:
        return "-"
    return f"{figure['mean']:.3f}" + (f" ± {figure['sd']:.3f}" if figure["sd"] is not None else "")


def _interval(figure: Mapping[str, Any]) -> str:
    if figure.get("mean") is None:
        return "-"
    return f"{figure['mean']:+.3f} ({figure['low']:+.3f} to {figure['high']:+.3f})"


if __name__ == "__main__":
    sys.exit(main())
