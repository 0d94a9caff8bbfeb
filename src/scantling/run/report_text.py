"""The short report of an evaluation, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scantling.run.report_figures import as_number
from scantling.run.report_sections import counted, questions


def render_text(evaluation: Mapping[str, Any], split: str = "") -> str:
    """A summary of an evaluation for the terminal, in plain text.

    Args:
        evaluation: from ``metrics.evaluate_predictions`` or ``metrics.evaluate_masks``.
        split: name of the part that was evaluated, told where given.

    Returns:
        Lines without a final line break.

    >>> figure = {"value": 0.85, "low": 0.8, "high": 0.9, "replicates_used": 2000}
    >>> frame = {"n": 40, "n_groups": 20, "interval": "95 % bootstrap by patient"}
    >>> print(render_text({**frame, "metrics": {"auroc": figure}}))
    40 images, 20 patients; 95 % bootstrap by patient
      auroc  0.850  (0.800 to 0.900)
    """
    lines = [f"{split}: {counted(evaluation)}" if split else counted(evaluation)]
    if evaluation.get("interval", "none") != "none":
        lines[0] += f"; {evaluation['interval']}"
    width = max((len(name) for name in evaluation["metrics"]), default=0)
    lines += [f"  {name:<{width}}  {_plain_figure(value)}" for name, value in evaluation["metrics"].items()]
    if evaluation.get("agreement"):
        lines += _plain_lengths(evaluation)
    for block in questions(evaluation):
        point = block["sensitivity_at_specificity"]["0.90"]
        lines.append(f"{block['definition']}:")
        lines.append(f"  auroc                            {_plain_figure(block['auroc'])}")
        lines.append(f"  sensitivity at specificity 0.90  {_plain_figure(point)}")
    calibration = evaluation.get("calibration")
    if calibration and calibration["ece"] is not None:
        lines.append(f"calibration: ECE {calibration['ece']:.3f}, Brier {calibration['brier']:.3f}")
    if evaluation.get("confusion"):
        lines += _plain_confusion(evaluation["confusion"], evaluation["target"]["names"])
    if evaluation.get("frequency"):
        lines.append("recall by frequency in training:")
        for row in evaluation["frequency"]:
            number = len(row["classes"])
            told = f"{number} class{'es' * (number != 1)}, {row['rule']}"
            lines.append(f"  {row['name']:<6}  {_plain_figure(row['recall'])}  {told}")
    for column, table in evaluation.get("by", {}).items():
        lines.append(f"by {column} ({evaluation['headline']}):")
        wide = max((len(value) for value in table), default=0)
        for value, row in table.items():
            lines.append(f"  {value:<{wide}}  n {row['n']:<6} {_plain_figure(row['metrics'][evaluation['headline']])}")
    return "\n".join(lines + [f"note: {note}" for note in evaluation.get("notes", [])])


def _plain_figure(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "undefined"
    value, low, high = (as_number(figure.get(end)).replace("−", "-") for end in ("value", "low", "high"))
    return value if figure.get("low") is None or figure.get("high") is None else f"{value}  ({low} to {high})"


def _plain_lengths(evaluation: Mapping[str, Any]) -> list[str]:
    """Every length with its error, its bias and the limits of agreement."""
    unit = evaluation.get("unit", "")
    lines = [f"measured less true ({unit}):"]
    for row in evaluation["per_class"]:
        mae, median, bias, low, high = (
            as_number(row[name]["value"]).replace("−", "-")
            for name in ("mae", "median", "bias", "lower_limit", "upper_limit")
        )
        errors = f"mean absolute error {mae}, median {median}"
        lines.append(f"  {row['name']:<4} n {row['n']:<6} {errors}, bias {bias}, limits {low} to {high}")
    return lines


def _plain_confusion(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> list[str]:
    if len(names) > 12:
        return []
    wide = max(len(name) for name in names)
    cell = max(max(len(str(c)) for row in matrix for c in row), *(min(len(n), 10) for n in names)) + 2
    head = " " * (wide + 2) + "".join(f"{name[:10]:>{cell}}" for name in names)
    rows = [f"  {name:<{wide}}" + "".join(f"{c:>{cell}}" for c in row) for name, row in zip(names, matrix, strict=True)]
    return ["confusion (true in rows, predicted in columns):", head, *rows]
