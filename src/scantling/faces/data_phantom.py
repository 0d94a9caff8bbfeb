"""``scantling data phantom``: synthetic images with exact truth."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scantling.faces.docs import Argument, arguments_of
from scantling.faces.parser import Parser, number
from scantling.run.telling import counting

WRITERS = {
    "anomaly": ("scantling.data.phantoms.anomaly", "write_anomaly"),
    "fundus": ("scantling.data.phantoms.write", "write_fundus"),
    "octa": ("scantling.data.phantoms.octa.write", "write_octa"),
    "skin": ("scantling.data.phantoms.skin.write", "write_skin"),
    "ultrasound": ("scantling.data.phantoms.ultrasound.write", "write_ultrasound"),
}
"""The function that writes a set of each kind; its arguments are the options of the kind."""

KINDS = tuple(WRITERS)


def configure(parser: Parser, words: Sequence[str]) -> None:
    """The verb's own options, and those of the kind that the words name."""
    parser.add("kind", choices=KINDS, doc=f"what the images show: {', '.join(KINDS)}")
    before = ["", *words]
    kind = next((w for w, last in zip(words, before, strict=False) if w in KINDS and not last.startswith("-")), None)
    folder = arguments_of(*WRITERS[kind or KINDS[0]])["folder"]
    parser.add("-o", "--out", metavar="FOLDER", required=True, doc=folder)
    if kind is None:
        for flag in dict.fromkeys(f for name in KINDS for o in options_of(name) for f in _flags(o.name)):
            parser.add(flag, doc=argparse.SUPPRESS)
        parser.epilog = "`scantling data phantom KIND --help` shows the options of a kind."
        return
    for option in options_of(kind):
        if option.name == "fractions":
            parser.add("--fractions", nargs=3, type=number, metavar=("TRAIN", "VAL", "TEST"), doc=option)
        else:
            parser.add(*_flags(option.name), doc=option, dest=option.name)


def run(arguments: argparse.Namespace) -> None:
    """Draw and write them."""
    from scantling.data.phantoms import WRITERS as writers

    options = {option.name: getattr(arguments, option.name) for option in options_of(arguments.kind)}
    with counting("drawing images") as told:
        manifest = writers[arguments.kind](arguments.out, progress=told, **options)
    print(f"{arguments.n} images")
    print(f"manifest: {manifest}")


def options_of(kind: str) -> list[Argument]:
    """The options of a kind."""
    return [a for name, a in arguments_of(*WRITERS[kind]).items() if name not in {"folder", "progress"}]


def _flags(name: str) -> tuple[str, ...]:
    return ("-n", "--n") if name == "n" else (f"--{name.replace('_', '-')}",)
