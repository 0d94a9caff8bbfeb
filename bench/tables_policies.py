"""The table of the page of policies, from bench/results/policy_speed.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], list[str]]

PARTS = {
    "operations": "two operations",
    "operations_and_crop": "two operations, image and mask resized and cropped",
}


def policy_speed_lines(content: Mapping[str, Any], table: Table) -> Iterator[str]:
    """Images a second, and time of the cores, of both ways."""
    settings, machine = content["settings"], content["machine"]
    ways = {
        "pillow": "Pillow, one image at a time",
        "one_thread": "here, one thread",
        "all_threads": f"here, {settings['threads']} threads",
    }
    rows = [
        [
            what,
            way,
            f"{content[part][name]['images_a_second']:.0f}",
            _spread(content[part][name]["ratio"]),
            f"{content[part][name]['core_milliseconds_an_image']:.1f}",
            _spread(content[part][name]["ratio_a_core"]),
        ]
        for part, what in PARTS.items()
        for name, way in ways.items()
    ]
    yield from table(["", "", "images a second", "times Pillow", "core ms an image", "times Pillow, a core"], rows)
    where = machine["accelerator"] if content["operations"]["device"] == "cuda" else machine["processor"]
    yield (
        f"{settings['size']} px, crop {settings['crop']}, batches of {settings['batch']}, {settings['rounds']} rounds "
        f"in turns; median, smallest and largest ratio of a round. {where}, {machine['cores']} cores, with other work "
        f"on the machine (load {content['load'][0]:g})."
    )
    yield ""


def _spread(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.1f} ({ratio['low']:.1f} to {ratio['high']:.1f})"
