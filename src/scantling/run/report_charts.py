"""The report's charts: matplotlib draws, the page's style sheet colours, so that one drawing serves light and dark.

Every function returns an inline ``<svg>`` whose colours are the page's variables and whose text is text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES = 8
"""Colours that a chart can tell apart."""

_INK, _RULE, _CARD = "#010203", "#010204", "#010205"
_SERIES = tuple(f"#0102{10 + i:02d}" for i in range(SERIES))
_VARIABLES = {
    _INK: "var(--soft)",
    _RULE: "var(--rule)",
    _CARD: "var(--card)",
    **{colour: f"var(--series-{i})" for i, colour in enumerate(_SERIES)},
}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _RULE,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _RULE,
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "lines.linewidth": 1.7,
    "lines.solid_capstyle": "round",
    "text.parse_math": False,
}


def class_balance(class_counts: Mapping[str, Mapping[str, int]]) -> str:
    """Share of every class in every split, as grouped bars with their counts.

    Args:
        class_counts: ``{split: {class: images}}``.
    """
    splits = list(class_counts)
    names = list(dict.fromkeys(name for counts in class_counts.values() for name in counts))
    height = max(2.0, 0.9 + 0.19 * len(names) * len(splits) + 0.12 * len(names))
    summary = "; ".join(
        f"{split}: " + ", ".join(f"{name} {counts.get(name, 0)}" for name in names)
        for split, counts in class_counts.items()
    )
    with _chart(f"Images of each class by split. {summary}", height=height) as ((axes,), out):
        thickness = 0.8 / len(splits)
        for i, split in enumerate(splits):
            counts = np.array([class_counts[split].get(name, 0) for name in names], dtype=float)
            share = 100 * counts / max(1.0, counts.sum())
            at = np.arange(len(names)) - 0.4 + thickness * (i + 0.5)
            axes.barh(at, share, thickness * 0.86, color=_SERIES[i % SERIES], label=f"{split} ({int(counts.sum()):,})")
            for y, x, count in zip(at, share, counts, strict=True):
                axes.annotate(f"{int(count):,}", (x, y), (3, 0), textcoords="offset points", va="center", fontsize=8.5)
        axes.set_yticks(np.arange(len(names)), [_shorten(name, 18) for name in names])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, axes.get_xlim()[1] * 1.06)
        axes.set_xlabel("share of the split (%), number of images")
        _legend_above(axes)
    return out[0]


def training_curves(curves: Mapping[str, np.ndarray], names: Mapping[str, str], label: str, best: str = "") -> str:
    """Columns of the training log against the epoch.

    Args:
        curves: columns of ``metrics.csv``; values that are missing are passed over.
        names: columns to draw, with their legends.
        label: what they are, for those who cannot see the chart.
        best: one of ``names`` whose highest value is marked.
    """
    epochs = np.asarray(curves["epoch"], dtype=float)
    with _chart(f"{label} by epoch: {', '.join(names.values())}") as ((axes,), out):
        for i, (name, title) in enumerate(names.items()):
            values = np.asarray(curves[name], dtype=float)
            there = np.isfinite(values) & np.isfinite(epochs)
            if not there.any():
                continue
            colour = _SERIES[i % SERIES]
            marker = "o" if there.sum() < 3 else None
            if name == best:
                top = int(np.argmax(values[there]))
                x, y = epochs[there][top], values[there][top]
                title = f"{title} (best {y:.3f})"
            axes.plot(epochs[there], values[there], color=colour, label=title, marker=marker, markersize=3.5)
            if name == best:
                axes.plot([x], [y], "o", color=colour, markersize=6, markeredgecolor=_CARD)
        axes.margins(x=0.02, y=0.12)
        axes.set_xlabel("epoch")
        axes.locator_params(axis="x", integer=True)
        _legend_above(axes)
    return out[0]


def shares(rows: Sequence[Sequence[float]], names: Sequence[str], label: str) -> str:
    """How a search's probabilities moved: one line a choice, the most probable at the end in colour.

    Args:
        rows: probabilities, one row an epoch, the first before the search.
        names: of the columns.
        label: what they are, for those who cannot see the chart.
    """
    values = np.asarray(rows, dtype=float)
    order = np.argsort(-values[-1], kind="stable")
    coloured = order[: SERIES - 2]
    told = ", ".join(f"{names[i]} {values[-1, i]:.2f}" for i in order)
    with _chart(f"{label} by epoch of the search, at the end: {told}") as ((axes,), out):
        for i in order[len(coloured) :]:
            axes.plot(values[:, i], color=_INK, linewidth=0.7, alpha=0.5)
        for colour, i in enumerate(coloured):
            axes.plot(values[:, i], color=_SERIES[colour], label=f"{names[i]} {values[-1, i]:.2f}")
        axes.margins(x=0.02, y=0.12)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("epoch of the search")
        axes.set_ylabel("probability")
        axes.locator_params(axis="x", integer=True)
        _legend_above(axes)
    return out[0]


def reliability(calibration: Mapping[str, Any]) -> str:
    """Observed frequency against probability, with the number of predictions in each bin below.

    Args:
        calibration: block of an evaluation.
    """
    bins = [b for b in calibration["reliability"] if b["n"]]
    probability = [b["probability"] for b in bins]
    frequency = [b["frequency"] for b in bins]
    ece = calibration["ece"]
    told = f"expected calibration error {ece:.3f}" if ece is not None else "no calibration error"
    with _chart(f"Reliability curve: {told}", rows=(4, 1), height=3.3) as ((axes, below), out):
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.vlines(probability, probability, frequency, color=_SERIES[1], linewidth=1.4)
        axes.plot(probability, frequency, color=_SERIES[0], marker="o", markersize=4, markeredgecolor=_CARD)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_ylabel("observed frequency")
        axes.tick_params(labelbottom=False)
        total = sum(b["n"] for b in bins)
        share = [100 * b["n"] / max(1, total) for b in bins]
        middle, width = [(b["low"] + b["high"]) / 2 for b in bins], [0.86 * (b["high"] - b["low"]) for b in bins]
        below.bar(middle, share, width, color=_SERIES[0], alpha=0.55)
        below.set_xlim(0, 1)
        below.set_ylabel("%")
        below.set_xlabel("probability that the model gave")
    return out[0]


def roc(curves: Sequence[tuple[str, Sequence[Sequence[float]]]], marks: Sequence[tuple[float, float]] = ()) -> str:
    """ROC curves.

    Args:
        curves: a legend and the points (false-positive rate, true-positive rate) of each.
        marks: operating points to mark on the first curve, in the same two rates.
    """
    with _chart("ROC curve: " + "; ".join(name for name, _ in curves), height=3.3) as ((axes,), out):
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.9, linestyle=(0, (4, 3)))
        for i, (name, points) in enumerate(curves[:SERIES]):
            line = np.asarray(points, dtype=float)
            axes.plot(line[:, 0], line[:, 1], color=_SERIES[i], label=name)
        if len(curves) == 1:
            line = np.asarray(curves[0][1], dtype=float)
            axes.fill_between(line[:, 0], line[:, 1], color=_SERIES[0], alpha=0.08, linewidth=0)
        for x, y in marks:
            axes.plot([x], [y], "o", color=_SERIES[1], markersize=5.5, markeredgecolor=_CARD)
        axes.set_xlim(-0.01, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("1 - specificity")
        axes.set_ylabel("sensitivity")
        axes.legend(loc="lower right")
    return out[0]


def distribution(name: str, histogram: Mapping[str, Any]) -> str:
    """Histogram of a value measured on every image.

    Args:
        name: of the value.
        histogram: ``edges``, ``counts`` and ``n`` of an evaluation of masks.
    """
    edges, counts = np.asarray(histogram["edges"]), np.asarray(histogram["counts"])
    with _chart(f"{name} of {histogram['n']} images", height=2.3) as ((axes,), out):
        axes.bar(edges[:-1], counts, np.diff(edges) * 0.9, align="edge", color=_SERIES[0])
        axes.set_xlim(edges[0], edges[-1])
        axes.locator_params(axis="y", integer=True)
        axes.grid(axis="x", visible=False)
        axes.set_xlabel(f"{name}, mean over classes")
        axes.set_ylabel("images")
    return out[0]


def densities(curves: Sequence[tuple[str, np.ndarray]]) -> str:
    """Densities of similarities on one axis: pairs of kinds in one colour, the synthetic ones filled.

    Args:
        curves: a legend and a histogram over [-1, 1] of each; real and synthetic in turn.
    """
    found = [(name, np.asarray(values, dtype=float)) for name, values in curves]
    mass = sum(values / values.sum() for _, values in found)
    bins = len(mass)
    edges = np.linspace(-1, 1, bins + 1)
    there = (
        np.flatnonzero(np.cumsum(mass) / mass.sum() > 0.0005)[0],
        np.flatnonzero(np.cumsum(mass) / mass.sum() > 0.9995)[0],
    )
    margin = max(8, (there[1] - there[0]) // 20)
    low, high = edges[max(0, there[0] - margin)], edges[min(bins, there[1] + margin + 1)]
    width = max(1.0, (there[1] - there[0]) / 60)
    middles = (edges[1:] + edges[:-1]) / 2
    offsets = np.arange(-int(3 * width), int(3 * width) + 1)
    kernel = np.exp(-((offsets / width) ** 2) / 2)
    shown = (middles >= low) & (middles <= high)
    step = max(1, int(shown.sum()) // 300)
    with _chart("Densities of the similarities of " + ", ".join(name for name, _ in found), height=3.0) as (
        (axes,),
        out,
    ):
        for name, values in found:
            smooth = np.convolve(values / values.sum(), kernel / kernel.sum(), mode="full")
            density = smooth[len(offsets) // 2 :][:bins] * bins / 2
            x, y = middles[shown][::step], density[shown][::step]
            colour = _SERIES[1 if "inter" in name else 0]
            synthetic = "synthetic" in name
            if synthetic:
                axes.fill_between(x, y, color=colour, alpha=0.22, linewidth=0)
            axes.plot(x, y, color=colour, label=name, linestyle=(0, (4, 2)) if synthetic else "-")
        axes.set_xlim(low, high)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("cosine similarity of two images")
        axes.set_ylabel("density")
        _legend_above(axes)
    return out[0]


def bland_altman(name: str, points: Mapping[str, Sequence[float]], row: Mapping[str, Any], unit: str) -> str:
    """Difference of measured and true lengths against their mean, with bias and limits of agreement.

    Args:
        name: of the length.
        points: ``truth`` and ``measured``.
        row: of the table of an evaluation: ``bias``, ``lower_limit``, ``upper_limit``.
        unit: of all of them.
    """
    truth, measured = (np.asarray(points[key], dtype=float) for key in ("truth", "measured"))
    lines = {key: row[key]["value"] for key in ("lower_limit", "bias", "upper_limit")}
    told = ", ".join(f"{key.replace('_', ' ')} {v:.2f} {unit}" for key, v in lines.items() if v is not None)
    with _chart(f"Bland-Altman plot of {name}, {len(truth)} images: {told}", height=2.9) as ((axes,), out):
        axes.plot((truth + measured) / 2, measured - truth, "o", color=_SERIES[0], markersize=3.2, alpha=0.5)
        for key, value in lines.items():
            if value is None:
                continue
            style = "-" if key == "bias" else (0, (4, 3))
            axes.axhline(value, color=_SERIES[1], linestyle=style, linewidth=1.2)
            axes.annotate(
                f"{value:+.2f}".replace("-", "−"), (1.0, value), (2, 0), xycoords=("axes fraction", "data"),
                textcoords="offset points", va="center", fontsize=8.5, annotation_clip=False,
            )  # fmt: skip
        axes.set_xlabel(f"mean of true and measured {name} ({unit})")
        axes.set_ylabel(f"measured - true ({unit})")
    return out[0]


def quality_scores(scores: Mapping[str, np.ndarray], threshold: float, good: np.ndarray | None, bins: int = 40) -> str:
    """Stacked histogram of quality scores by grade, the threshold, and above it the scores of held-out good images.

    Args:
        scores: of the images of every grade.
        threshold: of the best grade.
        good: quantiles of held-out good images; None where not known.
        bins: of the histogram.
    """
    values = np.concatenate(list(scores.values()))
    told = ", ".join(f"{len(found)} {grade}" for grade, found in scores.items())
    low, high = min(values.min(), threshold), max(np.quantile(values, 0.995), threshold)
    edges = np.linspace(low, high + max(1e-9, 0.02 * (high - low)), bins + 1)
    with _chart(f"Quality scores: {told}", height=2.6, rows=(1, 6)) as ((above, axes), out):
        parts = [np.clip(found, edges[0], edges[-1]) for found in scores.values()]
        colours = [_SERIES[i % SERIES] for i in range(len(parts))]
        axes.hist(
            parts,
            edges.tolist(),
            stacked=True,
            color=colours,
            label=[_shorten(name, 18) for name in scores],
            rwidth=0.92,
        )
        axes.axvline(threshold, color=_INK, linewidth=1.2)
        axes.set_xlim(edges[0], edges[-1])
        axes.locator_params(axis="y", integer=True)
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("score (the last bar holds all beyond)")
        axes.set_ylabel("images")
        above.set_xlim(edges[0], edges[-1])
        above.axis("off")
        if good is not None:
            inner = np.quantile(good, [0.05, 0.25, 0.5, 0.75, 0.95])
            above.plot(inner[[0, 4]], [0, 0], color=_INK, linewidth=1.0)
            above.plot(inner[[1, 3]], [0, 0], color=_INK, linewidth=5.0)
            above.plot(inner[2], 0, "o", color=_CARD, markersize=3)
        handles, labels = axes.get_legend_handles_labels()
        above.legend(handles, labels, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, borderaxespad=0.2)
    return out[0]


@contextmanager
def _chart(title: str, height: float = 2.7, rows: tuple[int, ...] = (1,)) -> Iterator[tuple[list[Axes], list[str]]]:
    """The axes of a figure, top to bottom, and a list that holds the finished SVG once the block ends."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    out: list[str] = []
    settings: dict[Any, Any] = {**_STYLE, "svg.hashsalt": title}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(4.7, height), layout="constrained")
        canvas = FigureCanvasSVG(figure)
        axes = figure.subplots(len(rows), 1, squeeze=False, gridspec_kw={"height_ratios": rows})
        yield list(axes.ravel()), out
        buffer = io.StringIO()
        canvas.print_svg(buffer, metadata={"Creator": None, "Date": None, "Format": None, "Type": None})
    out.append(_for_the_page(buffer.getvalue(), title))


def _for_the_page(svg: str, title: str) -> str:
    """Matplotlib's SVG without its prologue, sizes, fonts and colours, with a title for those who cannot see it."""
    box = re.search(r'viewBox="([^"]+)"', svg)
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    used = set(re.findall(r"url\(#(\w+)\)", body)) | set(re.findall(r'xlink:href="#(\w+)"', body))
    body = re.sub(r' id="([^"]*)"', lambda found: found.group(0) if found.group(1) in used else "", body)
    body = re.sub(r"font: (?:\w+ )*?([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    body = re.sub(r"font-family: [^;\"]*;?", "", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    body = re.sub(r"\s*\n\s*", "\n", body).strip()
    view = box.group(1) if box else "0 0 340 200"
    return f'<svg class="chart" role="img" viewBox="{view}" aria-label={quoteattr(title)}>{body}</svg>'


def _legend_above(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(-0.02, 1.0),
            ncols=max(1, min(3, len(handles), 60 // (6 + max(map(len, labels))))),
            borderaxespad=0.2,
            columnspacing=1.2,
            handlelength=1.2,
        )


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
