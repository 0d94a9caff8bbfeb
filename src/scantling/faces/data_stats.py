"""``scantling data stats``: how many of what, how large, how bright."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from scantling.faces.docs import arguments_of
from scantling.faces.parser import Parser
from scantling.faces.wording import table


def configure(parser: Parser, words: Sequence[str]) -> None:
    """Options of :func:`scantling.data.stats.stats`."""
    docs = arguments_of("scantling.data.stats", "stats")
    parser.add("manifest", metavar="MANIFEST", doc=docs["manifest"])
    parser.add("--sample", doc=docs["sample"])
    parser.add("--seed", doc=docs["seed"])
    parser.add("--json", action="store_true", doc="print the figures as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Print the figures."""
    from scantling.data.manifest import Manifest
    from scantling.data.stats import stats

    figures = stats(Manifest.read(arguments.manifest), arguments.sample, arguments.seed)
    if arguments.json:
        import json

        print(json.dumps(figures, indent=2, ensure_ascii=False))
    else:
        print(rendered(figures))


def rendered(figures: dict[str, Any]) -> str:
    """Text for a terminal."""
    facts = [["images", str(figures["images"])], ["target", figures["target"]]]
    facts += [[name, str(figures[name])] for name in ("patients", "unlabelled") if figures[name] is not None]
    if figures["splits"]:
        facts.append(["splits", ", ".join(f"{name} {n}" for name, n in figures["splits"].items())])
    if "sizes" in figures:
        sizes = figures["sizes"]
        low, middle, high = ("x".join(map(str, reversed(sizes[k]))) for k in ("min", "median", "max"))
        facts.append(["size", f"{middle}, from {low} to {high}, {sizes['distinct']} different (width x height)"])
        facts.append(["channels", ", ".join(f"{name} ({n} images)" for name, n in figures["channels"].items())])
        for name in ("mean", "std"):
            facts.append([name, "  ".join(f"{value:.4f}" for value in figures[name])])
        facts.append(["measured on", f"{figures['sampled']} images"])
    blocks = [table(facts), _counts("class", figures["classes"]), _counts("class", _by_site(figures["sites"]))]
    return "\n\n".join(block for block in blocks if block)


def _by_site(sites: dict[str, dict[str, Any]]) -> dict[str, dict[str, int]]:
    return {site: content["classes"] for site, content in sites.items() if content["classes"]}


def _counts(name: str, columns: dict[str, dict[str, int]]) -> str:
    """A table of counts, one row a class and one column a split or site."""
    classes = list(dict.fromkeys(c for counts in columns.values() for c in counts))
    rows = [[c, *(f"{counts.get(c, 0):>6}" for counts in columns.values())] for c in classes]
    return table([[name, *(f"{column:>6}" for column in columns)], *rows]) if classes else ""
