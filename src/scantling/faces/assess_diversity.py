"""``scantling assess diversity``: is a synthetic set as diverse as the real one?"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence

from scantling.core.errors import RecipeError
from scantling.faces.docs import arguments_of
from scantling.faces.parser import Parser
from scantling.run.telling import Told, counting

DISTANCES = ("fisher", "biometric", "variance", "wasserstein", "energy", "ks", "kl", "js")
SIZES = ("bootstrap", "floor", "neighbours", "max_images", "seed")


def configure(parser: Parser, words: Sequence[str]) -> None:
    """Options of :func:`scantling.run.assess_diversity.assess_diversity`."""
    docs = arguments_of("scantling.run.assess_diversity", "assess_diversity")
    parser.add("real", metavar="REAL", doc=docs["real"])
    parser.add("synthetic", metavar="SYNTHETIC", doc=docs["synthetic"])
    parser.add("--encoder", metavar="ENCODER", doc=docs["encoder"], suggest=("pixels",))
    parser.add("-o", "--out", metavar="FOLDER", doc=docs["out"])
    parser.add("--distance", choices=DISTANCES, doc=docs["distance"])
    for name in ("beta", "normalisation", "balance", "centre"):
        parser.add(f"--{name}", doc=docs[name])
    parser.add("--split", choices=("train", "val", "test"), doc=docs["split"])
    parser.add("--multi-label", choices=("single", "jaccard"), doc=docs["multi_label"])
    for name in SIZES:
        parser.add(f"--{name.replace('_', '-')}", doc=docs[name])
    parser.add("--device", metavar="DEVICE", doc=docs["device"], suggest=("auto", "cpu", "cuda"))
    parser.add("--batch-size", doc=docs["batch_size"])
    parser.add("--workers", doc=docs["workers"])


def run(arguments: argparse.Namespace) -> None:
    """Compare, and print the two numbers and where the page is."""
    settings = {key: getattr(arguments, key) for key in ("distance", "beta", "normalisation", "balance", "centre")}
    settings |= {name: getattr(arguments, name) for name in SIZES}
    if arguments.bootstrap < 0 or arguments.floor < 0:
        raise RecipeError("a number below 0", where="--bootstrap, --floor", do="use 0 for none")
    from scantling.run.assess_diversity import assess_diversity

    with contextlib.ExitStack() as stack:
        found = assess_diversity(
            arguments.real,
            arguments.synthetic,
            arguments.encoder,
            arguments.out,
            split=arguments.split,
            multi_label=arguments.multi_label,
            device=arguments.device,
            batch_size=arguments.batch_size,
            workers=arguments.workers,
            progress=lambda text: _late(text, stack),
            **settings,
        )
    print(found.summary())


def _late(text: str, stack: contextlib.ExitStack) -> Told:
    """A bar that opens with its first count and closes with its last, since a terminal shows one at a time."""
    bar: list[Told] = []
    own = contextlib.ExitStack()
    stack.callback(own.close)

    def tell(done: int, total: int) -> None:
        if not bar:
            bar.append(own.enter_context(counting(text)))
        bar[0](done, total)
        if done >= total:
            own.close()

    return tell
