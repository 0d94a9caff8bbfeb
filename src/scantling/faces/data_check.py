"""``scantling data check``: what would spoil an experiment."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scantling.faces.docs import arguments_of
from scantling.faces.parser import Parser
from scantling.run.telling import counting


def configure(parser: Parser, words: Sequence[str]) -> None:
    """Options of :func:`scantling.data.check.check`."""
    docs = arguments_of("scantling.data.check", "check")
    parser.add("manifest", metavar="MANIFEST", doc=docs["manifest"])
    parser.add("--json", action="store_true", doc="print the findings as JSON")
    parser.add("--workers", doc=docs["workers"])
    parser.epilog = "Exit code: 0 no errors (warnings do not count), 1 errors were found, 2 it could not be checked."


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; 1 when there are errors."""
    from scantling.data.check import check
    from scantling.data.manifest import Manifest

    manifest = Manifest.read(arguments.manifest)
    with counting("checking images") as told:
        report = check(manifest, arguments.workers, told)
    if arguments.json:
        import json

        print(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        print(report.render())
    return 0 if report.ok else 1
