"""The tables of the page of UNO-QA, from bench/results/uno_qa.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], list[str]]

BASELINE, METHOD = "embedding", "uno_qa"
GRADES = (
    ("accuracy", "accuracy"), ("macro_f1", "macro F1"), ("quadratic_weighted_kappa", "quadratic kappa"),
    ("clusters_accuracy", "clustering accuracy"), ("clusters_adjusted_rand", "adjusted Rand"),
    ("clusters_mutual_information", "mutual information"),
)  # fmt: skip
WAYS = {"groups": "clustered features", "cut": "cut of the score"}


def uno_qa_lines(content: Mapping[str, Any], table: Table) -> Iterator[str]:
    """Areas by fault, what the baseline lacks, grades and groups."""
    seeds = sorted({run["seed"] for run in content["runs"]})
    yield from ("### Better than a Mahalanobis distance of features?", "")
    yield from table(["data", "UNO-QA", "Mahalanobis", "mean difference", "seed by seed"], list(_differences(content)))
    yield from ("Area under the ROC curve of good against degraded, mean over faults and severities.", "")
    for data, title in content["data"].items():
        ways = content["summary"].get(data)
        if not ways:
            continue
        images = {run["images"] for run in content["runs"] if run["data"] == data}
        yield from (f"### {title}", "")
        yield from table(
            ["AUROC", *(_fault(content, name) for name in content["faults"]), "mean", "false alarms"],
            [
                [content["variants"][way], *(_mean(figures, f"auroc_{name}") for name in content["faults"]),
                 _spread(figures, "mean_auroc"), _mean(figures, "false_alarms")]
                for way, figures in ways.items()
            ],
        )  # fmt: skip
        yield (
            f"{' or '.join(map(str, sorted(images)))} good test images, and copies of each with all faults, severities "
            f"{' and '.join(f'{s:g}' for s in content['severities'])}. In brackets the kind of training that a fault "
            "is a relative of; those without are of kinds that training never shows. Wanted false alarms: 0.05."
        )
        yield ""
        for kind, told in (("degraded", "Three grades: good, mildly and severely degraded copies"),
                           ("own", "Three grades of the phantoms' own")):  # fmt: skip
            if not any(f"{kind}_groups_accuracy" in figures for figures in ways.values()):
                continue
            yield from table(
                [told, "second decision", "AUROC", *(label for _, label in GRADES)],
                [
                    [content["variants"][way], words, _mean(figures, f"{kind}_{by}_auroc"),
                     *(_mean(figures, f"{kind}_{by}_{name}") for name, _ in GRADES)]
                    for way, figures in ways.items()
                    for by, words in WAYS.items()
                ],
            )  # fmt: skip
    machine = content["machine"]
    yield from ("### How it was measured", "")
    yield (
        f"Seeds {', '.join(map(str, seeds))}: of the division by patient, training and faults. Means over the seeds "
        "with standard deviations where it says so. Clustering accuracy takes the best naming of the two groups, an "
        "oracle; the other figures take the names that the scores give. All ways look through the same `test_resnet`, "
        "pretrained on drawn skin lesions. "
        f"{machine['processor']}, {machine['cores']} cores. {content['created'][:10]}. `python bench/uno_qa.py`."
    )
    yield ""


def _differences(content: Mapping[str, Any]) -> Iterator[list[str]]:
    means = {(run["data"], run["variant"], run["seed"]): run["mean_auroc"] for run in content["runs"]}
    for data, title in content["data"].items():
        seeds = [s for d, v, s in means if d == data and v == METHOD and (data, BASELINE, s) in means]
        if not seeds:
            continue
        pairs = [(means[data, METHOD, seed], means[data, BASELINE, seed]) for seed in seeds]
        gaps = [a - b for a, b in pairs]
        own, other = (sum(values) / len(values) for values in zip(*pairs, strict=True))
        yield [
            title,
            f"{own:.3f}",
            f"{other:.3f}",
            f"{sum(gaps) / len(gaps):+.3f}",
            ", ".join(f"{g:+.3f}" for g in gaps),
        ]


def _fault(content: Mapping[str, Any], name: str) -> str:
    kin = content["faults"][name]
    return name.replace("_", " ") + (f" ({kin.replace('_', ' ')})" if kin else "")


def _mean(figures: Mapping[str, Any], name: str) -> str:
    return f"{figures[name]['mean']:.3f}" if name in figures else "-"


def _spread(figures: Mapping[str, Any], name: str) -> str:
    if name not in figures:
        return "-"
    deviation = figures[name]["sd"]
    return f"{figures[name]['mean']:.3f}" + (f" ± {deviation:.3f}" if deviation is not None else "")
