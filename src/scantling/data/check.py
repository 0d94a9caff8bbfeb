"""Check a manifest before a night of training is spent on it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from scantling.data.facts import Facts, Progress, collect_facts
from scantling.data.manifest import SPLITS, Manifest
from scantling.data.problems import QUESTIONS, Problem, class_counts

__all__ = ["CheckReport", "Problem", "check"]

_SHOWN = 8


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Args:
        problems: errors first.
        counts: ``images``, ``readable``, ``patients``, ``splits`` ({name: images}), ``classes`` ({split: {class:
            images}}), ``sizes`` ({"WxH": images}, the most frequent first), ``channels`` ({channels: images}).
    """

    problems: tuple[Problem, ...]
    counts: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings do not count."""
        return not any(p.severity == "error" for p in self.problems)

    def to_json(self) -> dict[str, Any]:
        """Plain content: ``ok``, ``counts``, ``problems``."""
        return {"ok": self.ok, "counts": self.counts, "problems": [p.to_json() for p in self.problems]}

    def render(self) -> str:
        """Text for the terminal; rows are numbered as a text editor numbers the lines of the table."""
        return "\n".join([*_summary(self.counts), "", *_told(self.problems)])


def check(manifest: Manifest, workers: int | None = None, progress: Progress | None = None) -> CheckReport:
    """Decode every image and mask of a manifest and look for what spoils an experiment.

    Errors: missing and undecodable files, masks of another size, labels that the target does not know, the same picture
    in two splits or with two labels, a patient in two splits. Warnings: likely slips in class names, classes absent
    from a split, copies, blank, unusually sized or unlabelled images.

    Args:
        manifest: what to check.
        workers: threads; by default one a processor, at most 8.
        progress: called with the rows done and the rows in all.
    """
    if not len(manifest):
        return CheckReport(
            (Problem("error", "empty", "the manifest has no rows", (), "import the data again"),), {"images": 0}
        )
    facts = collect_facts(manifest, workers, progress)
    problems = [problem for question in QUESTIONS for problem in question(manifest, facts)]
    return CheckReport(tuple(sorted(problems, key=lambda p: p.severity != "error")), _counts(manifest, facts))


def _counts(manifest: Manifest, facts: list[Facts]) -> dict[str, Any]:
    table, good = manifest.table, [f for f in facts if f.error is None]
    sizes = Counter(f"{f.size[1]}x{f.size[0]}" for f in good)
    return {
        "images": len(manifest),
        "readable": len(good),
        "patients": int(table["patient"].nunique()) if "patient" in table else None,
        "splits": {s: len(manifest.split(s)) for s in SPLITS if len(manifest.split(s))},
        "classes": class_counts(manifest),
        "sizes": dict(sizes.most_common()),
        "channels": {str(k): n for k, n in Counter(f.channels for f in good).most_common()},
    }


def _summary(counts: dict[str, Any]) -> list[str]:
    lines = [f"{counts['images']} images, {counts.get('readable', 0)} readable"]
    if counts.get("patients"):
        lines[0] += f", {counts['patients']} patients"
    sizes = counts.get("sizes", {})
    if sizes:
        shown = ", ".join(f"{size} ({n})" for size, n in list(sizes.items())[:3])
        lines.append(f"sizes: {shown}" + (f", and {len(sizes) - 3} more" if len(sizes) > 3 else ""))
    return [*lines, *_class_table(counts.get("classes", {}))]


def _class_table(classes: dict[str, dict[str, int]]) -> list[str]:
    names = list(dict.fromkeys(name for counts in classes.values() for name in counts))
    if not names:
        return []
    wide = max(len(n) for n in ("class", *names))
    head = f"{'class':<{wide}}" + "".join(f"{split:>8}" for split in classes)
    body = (f"{n:<{wide}}" + "".join(f"{counts.get(n, 0):>8}" for counts in classes.values()) for n in names)
    return ["", head, *body]


def _told(problems: tuple[Problem, ...]) -> list[str]:
    if not problems:
        return ["no problems found"]
    lines = []
    for problem in problems:
        lines.append(f"{problem.severity:<8}{problem.message}{_places(problem.rows)}")
        if problem.do:
            lines.append(f"{'':<8}-> {problem.do}")
    errors = sum(p.severity == "error" for p in problems)
    return [*lines, "", f"{errors} errors, {len(problems) - errors} warnings"]


def _places(rows: tuple[int, ...]) -> str:
    if not rows:
        return ""
    shown = ", ".join(str(r + 2) for r in rows[:_SHOWN])
    return f" (rows {shown}, ...)" if len(rows) > _SHOWN else f" (row{'s' if len(rows) > 1 else ''} {shown})"
