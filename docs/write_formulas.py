"""Writes the tables of formulas of fetal biometry from the formulas themselves: ``python docs/write_formulas.py``."""

from __future__ import annotations

from pathlib import Path

from scantling.measure.formula import Formula
from scantling.measure.growth import CRL_AGE
from scantling.measure.hadlock import AGES, WEIGHTS
from scantling.measure.intergrowth import AGE, SIZES, WEIGHT

PAGE = Path(__file__).parent / "methods" / "fetal_biometry_formula_tables.md"
GENERATED = "<!-- Written by docs/write_formulas.py; change the code, not this page. -->"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Tables of all formulas, with their citations below."""
    lines = [
        GENERATED,
        "",
        "B, H, A, F: biparietal diameter, head circumference, abdominal circumference, femur length.",
        "",
    ]
    for title, formulas in (
        ("Gestational age", [*AGES.values(), AGE, CRL_AGE]),
        ("Estimated fetal weight", [*WEIGHTS.values(), WEIGHT]),
    ):
        lines += [f"**{title}**", "", "| name | published for | formula | gives | holds for |", "|---|---|---|---|---|"]
        lines += [_row(formula) for formula in formulas]
        lines += ["", *_sources(formulas), ""]
    lines += ["**Size for age** (W: weeks, millimetres)", "", "| name | mean | standard deviation |", "|---|---|---|"]
    for standard in SIZES.values():
        mean, deviation = standard.equations
        lines.append(f"| `{standard.name}` | {mean} | {deviation} |")
    first = next(iter(SIZES.values()))
    lines += ["", f"{first.citation}; {first.valid[0]:g} to {first.valid[1]:g} weeks."]
    return "\n".join(lines) + "\n"


def _row(formula: Formula) -> str:
    low, high = formula.valid
    ranges = [
        f"{name.upper()} {least:g}-{most:g} mm"
        for name, (least, most) in zip(formula.inputs, formula.input_valid, strict=True)
    ]
    holds = f"{low:g}-{high:g} {formula.unit}; {', '.join(ranges)}"
    return f"| `{formula.name}` | {formula.input_unit} | {formula.equation} | {formula.unit} | {holds} |"


def _sources(formulas: list[Formula]) -> list[str]:
    """Each citation once, with the remarks on it."""
    found: dict[str, str] = {}
    for formula in formulas:
        name = formula.name.rpartition("_")[0]
        found[f"`{name}`: {formula.citation}"] = formula.remark
    return [
        f"- {citation}.{f' {remark[0].upper()}{remark[1:]}.' if remark else ''}" for citation, remark in found.items()
    ]


if __name__ == "__main__":
    main()
