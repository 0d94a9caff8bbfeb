"""The tables of the page of fetal biometry, from bench/results/fetal_biometry.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], list[str]]

VARIANTS = {"main": "192 px, base 16", "small": "128 px, base 8"}
WAYS = {
    "auto": "as predicted (`auto`)",
    "moments": "`moments`",
    "contour": "`contour`",
    "robust": "`robust`",
    "flips": "`auto`, four flips averaged",
}
FITS = {"points": "points on the ellipse", **{name: f"filled mask, {name}" for name in list(WAYS)[:4]}}
LAMBDAS = {"lambda_0": "0", "lambda_0.3": "0.3", "lambda_0.7": "0.7", "lambda_1": "1"}


def biometry_lines(content: Mapping[str, Any], table: Table) -> Iterator[str]:
    """Errors on heads, what the fits alone cost, and phantoms by the weight of the planes."""
    data = content["data"]
    yield "### HC18-half, by folds of pregnancies"
    yield ""
    yield from table(
        ["network", "measured", "mean absolute error, mm", "median", "bias", "limits of agreement", "Dice",
         "not measured", "error by fold"],
        [*_heads(content), _constant(content["constant"])],
    )  # fmt: skip
    seconds = {VARIANTS[name]: found["seconds"] for name, found in content["hc18"].items()}
    minutes = "; ".join(f"{name} {sum(s) / len(s) / 60:.1f} minutes a fold" for name, s in seconds.items())
    yield (
        f"{data['hc18']['images']} images of {data['hc18']['patients']} pregnancies, head circumference against the "
        f"published ellipse; images that were not measured are left out of the errors. Training: {minutes}."
    )
    yield ""
    yield "### What the fits alone cost"
    yield ""
    yield from table(
        ["from", "mean absolute error, mm", "largest", "bias", "masks a second and core"],
        [
            [
                FITS[name],
                f"{row['mae']:.3f}",
                f"{row['largest']:.2f}",
                f"{row['bias']:+.3f}",
                str(row["masks_per_second"] or "-"),
            ]
            for name, row in content["fits"].items()
        ],
    )
    yield "The published ellipses of the same images at half size, fitted again, against the published values."
    yield ""
    if content["phantoms"]:
        yield "### Phantoms, by the weight of the planes"
        yield ""
        yield from table(
            ["lambda", "plane accuracy", "Dice", "HC", "AC", "FL", "not measured"],
            [_phantoms(name, row) for name, row in content["phantoms"].items()],
        )
        yield (
            f"Mean absolute errors in mm, measured as the true plane, mean and deviation of seeds, "
            f"{data['phantoms']['test']} test images; the last column as predicted, with the plane that is seen."
        )
        yield ""
    machine = content["machine"]
    yield (
        f"`python bench/fetal_biometry.py`; {machine['processor']}, {machine['cores']} cores. "
        + ", ".join(f"{name} {version}" for name, version in content["versions"].items())
        + f". {content['created'][:10]}."
    )
    yield ""


def _heads(content: Mapping[str, Any]) -> Iterator[list[str]]:
    for variant, found in content["hc18"].items():
        for way, row in found["ways"].items():
            by_fold = ", ".join(f"{value:.2f}" for value in row["mae_of_folds"])
            yield [
                VARIANTS[variant],
                WAYS[way],
                *_errors(row),
                f"{row['dice']:.3f}",
                f"{100 * row['failure_rate']:.1f} %",
                by_fold,
            ]


def _constant(row: Mapping[str, float]) -> list[str]:
    return ["none", "the mean of the training images", *_errors(row), "-", "-", "-"]


def _errors(row: Mapping[str, float]) -> list[str]:
    limits = f"{row['lower_limit']:+.1f} to {row['upper_limit']:+.1f}"
    return [f"{row['mae']:.2f}", f"{row['median']:.2f}", f"{row['bias']:+.2f}", limits]


def _phantoms(name: str, row: Mapping[str, Any]) -> list[str]:
    told = [("auto", "plane_accuracy", 3), ("auto", "dice", 3), *(("true plane", n, 2) for n in ("hc", "ac", "fl"))]
    figures = [_spread(row.get(f"{way}: {figure}"), digits) for way, figure, digits in told]
    failed = row.get("auto: failure_rate")
    return [LAMBDAS[name], *figures, "-" if failed is None else f"{100 * failed['mean']:.0f} %"]


def _spread(figure: Mapping[str, float] | None, digits: int) -> str:
    if figure is None or figure["mean"] is None:
        return "-"
    return f"{figure['mean']:.{digits}f} ± {figure['std'] or 0:.{digits}f}"
